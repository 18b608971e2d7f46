use super::*;

fn parsed(app: Option<&str>, line: &str) -> Result<Args, clap::Error> {
    let program = Program { app: app.map(Into::into), workflows: vec![] };
    parse(&program, line.split(' ').map(OsString::from))
}

#[test]
fn the_definition_of_the_arguments_is_sound() {
    Args::command().debug_assert();
}

#[test]
fn a_program_of_an_app_without_arguments_serves() {
    assert!(parsed(Some("payments"), "payments").unwrap().verb.is_none());
    assert!(parsed(None, "sakia").is_err(), "the command itself has nothing to serve");
}

#[test]
fn options_stand_before_or_behind_the_command() {
    for line in ["sakia --app payments list --json", "sakia list --json --app payments"] {
        let args = parsed(None, line).unwrap();
        assert_eq!((args.app.as_deref(), args.json), (Some("payments"), true));
    }
}

#[test]
fn a_command_without_an_app_says_how_to_name_it() {
    let args = Args { app: None, ..parsed(None, "sakia list").unwrap() };
    let verb = args.verb.clone().unwrap();
    let failure = app_name(&Program::default(), &args, &verb).unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.text.contains("--app") && failure.text.contains("SAKIA_APP"), "{}", failure.text);
}

#[test]
fn a_workflow_that_the_app_does_not_have_is_refused_with_those_that_it_has() {
    let command = Command {
        app: "payments".into(),
        config: Config::default(),
        json: false,
        workflows: vec!["payment", "refund"],
    };
    assert!(command.check_workflow("payment").is_ok());
    let failure = command.check_workflow("paiment").unwrap_err();
    assert!(failure.text.contains("\"paiment\"; it has: payment, refund"), "{}", failure.text);
}

#[test]
fn input_that_is_no_json_is_refused_before_it_is_sent() {
    assert_eq!(&payload::read("{\"a\":1}", "the input").unwrap()[..], b"{\"a\":1}");
    let failure = payload::read("hello", "the input").unwrap_err();
    assert!(failure.text.starts_with("the input is not JSON"), "{}", failure.text);
    assert!(payload::read("@/nowhere/x", "the input").unwrap_err().text.contains("/nowhere/x"));
}
