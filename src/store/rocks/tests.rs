use super::*;
use crate::store::memory::MemoryStores;

fn identity() -> Identity {
    Identity { cluster_id: "c1".into(), app: "payments".into(), partitions: 8, format: 1 }
}

fn w(k: &str, v: Option<&str>) -> Write {
    (Bytes::copy_from_slice(k.as_bytes()), v.map(|v| Bytes::copy_from_slice(v.as_bytes())))
}

/// What both kinds of store must do alike.
fn behaves(s: &mut dyn Store) {
    assert_eq!(s.next_changelog_offset().unwrap(), 0);
    s.apply(&[w("a1", Some("x")), w("a2", Some("y")), w("a3", Some("z")), w("b1", Some("q"))], 7).unwrap();
    s.apply(&[w("a2", None), w("a3", Some("zz"))], 9).unwrap();
    assert_eq!(s.next_changelog_offset().unwrap(), 9);
    assert_eq!(s.get(b"a2").unwrap(), None);
    assert_eq!(s.get(b"a3").unwrap().as_deref(), Some(&b"zz"[..]));
    let keys = |prefix: &[u8], from: &[u8], n| -> Vec<String> {
        let found = s.scan(prefix, from, n).unwrap();
        found.iter().map(|(k, _)| String::from_utf8_lossy(k).into_owned()).collect()
    };
    assert_eq!(keys(b"a", b"", 10), ["a1", "a3"]);
    assert_eq!(keys(b"a", b"a2", 10), ["a3"]);
    assert_eq!(keys(b"a", b"a3", 10), ["a3"]);
    assert_eq!(keys(b"a", b"b", 10), [""; 0]);
    assert_eq!(keys(b"", b"", 10), ["a1", "a3", "b1"], "the reserved key is not shown");
    assert_eq!(keys(b"", b"", 2), ["a1", "a3"]);
    s.wipe().unwrap();
    assert_eq!(s.next_changelog_offset().unwrap(), 0);
    assert_eq!(s.get(b"a1").unwrap(), None);
}

#[test]
fn stores_behave_alike() {
    let dir = tempfile::tempdir().unwrap();
    behaves(&mut *RocksStores::open(dir.path(), &identity()).unwrap().open(0).unwrap());
    behaves(&mut *MemoryStores::default().open(0).unwrap());
}

/// Writes in no order, several to one key, deletions of keys that are there, that come later, and that never were.
fn large_batch(round: usize) -> Vec<Write> {
    use super::load::FILE_WRITES_MIN;
    (0..FILE_WRITES_MIN * 2)
        .map(|n| {
            let key = format!("k{:06}", n.wrapping_mul(7_919) % (FILE_WRITES_MIN + FILE_WRITES_MIN / 2));
            let value = (n % 7 != round).then(|| format!("{round}-{n}"));
            w(&key, value.as_deref())
        })
        .collect()
}

fn as_batch(writes: &[Write]) -> Batch {
    let mut batch = Batch::default();
    for (key, value) in writes {
        batch.push(key, value.as_deref());
    }
    batch
}

#[test]
fn batches_that_are_loaded_one_behind_the_other_come_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let stores = RocksStores::open(dir.path(), &identity()).unwrap();
    let (mut loaded, mut applied) = (stores.open_rocks(0).unwrap(), stores.open_rocks(1).unwrap());
    for round in 0..6 {
        loaded.load(as_batch(&large_batch(round)), round as i64).unwrap();
        applied.apply(&large_batch(round), round as i64).unwrap();
    }
    loaded.settle().unwrap();
    assert!(loaded.dump().unwrap() == applied.dump().unwrap());
}

#[test]
fn a_batch_that_could_not_be_loaded_does_not_hide_behind_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let stores = RocksStores::open(dir.path(), &identity()).unwrap();
    let mut s = stores.open_rocks(0).unwrap();
    std::fs::create_dir_all(dir.path().join("p-0000/restore.load/x")).unwrap();
    s.load(as_batch(&large_batch(0)), 9).unwrap();
    assert!(s.load(as_batch(&large_batch(1)), 10).is_err());
    assert!(matches!(s.apply(&[], 11), Err(StoreError::Poisoned { .. })));
    s.wipe().unwrap();
    assert_eq!(s.next_changelog_offset().unwrap(), 0);
}

/// Sizes of the first level and of its files, as RocksDB wrote them down last.
fn level_sizes(store: &Path) -> Vec<String> {
    let names = std::fs::read_dir(store).unwrap().map(|entry| entry.unwrap().path());
    let newest = names.filter(|path| path.to_string_lossy().contains("OPTIONS-")).max().unwrap();
    let text = std::fs::read_to_string(newest).unwrap();
    let named = |line: &&str| {
        ["max_bytes_for_level_base=", "target_file_size_base="].iter().any(|name| line.starts_with(name))
    };
    let mut lines: Vec<_> = text.lines().map(str::trim).filter(named).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn the_first_level_is_large_during_a_restore_only() {
    let dir = tempfile::tempdir().unwrap();
    let stores = RocksStores::open(dir.path(), &identity()).unwrap();
    let mut s = stores.open_rocks(0).unwrap();
    let sizes = || level_sizes(&stores.path_of(0));
    let live = ["max_bytes_for_level_base=67108864", "target_file_size_base=16777216"];
    assert_eq!(sizes(), live);
    s.load(as_batch(&large_batch(0)), 1).unwrap();
    assert_eq!(sizes(), ["max_bytes_for_level_base=268435456", "target_file_size_base=67108864"]);
    s.settle().unwrap();
    assert_eq!(sizes(), live);
}

#[test]
fn a_large_batch_that_is_loaded_is_the_same_as_one_that_is_applied() {
    let dir = tempfile::tempdir().unwrap();
    let stores = RocksStores::open(dir.path(), &identity()).unwrap();
    let (mut loaded, mut applied) = (stores.open_rocks(0).unwrap(), stores.open_rocks(1).unwrap());
    let small = [w("k000003", Some("old")), w("z", Some("kept"))];
    for s in [&mut loaded, &mut applied] {
        s.apply(&small, 2).unwrap();
    }
    for round in 0..3 {
        let next = 1_000 * (round as i64 + 1);
        loaded.load(as_batch(&large_batch(round)), next).unwrap();
        applied.apply(&large_batch(round), next).unwrap();
        loaded.apply(&[w("k000005", None)], next + 1).unwrap();
        applied.apply(&[w("k000005", None)], next + 1).unwrap();
    }
    let (l, a) = (loaded.dump().unwrap(), applied.dump().unwrap());
    assert!(l.len() > load::FILE_WRITES_MIN / 2, "{} rows", l.len());
    assert!(l == a);
    assert!(!dir.path().join("p-0000/restore.load").exists(), "RocksDB has taken it over");
    assert_eq!(loaded.next_changelog_offset().unwrap(), 3_001);
    drop(loaded);
    assert!(stores.open_rocks(0).unwrap().dump().unwrap() == a, "it is on disk");
}

#[test]
fn a_file_that_cannot_be_loaded_poisons_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let stores = RocksStores::open(dir.path(), &identity()).unwrap();
    let mut s = stores.open_rocks(0).unwrap();
    // A folder is in the place of the file.
    std::fs::create_dir_all(dir.path().join("p-0000/restore.load/x")).unwrap();
    // Whoever asks first hears of it: it is written on a thread of its own.
    s.load(as_batch(&large_batch(0)), 9).unwrap();
    assert!(s.settle().is_err());
    assert!(matches!(s.apply(&[], 10), Err(StoreError::Poisoned { .. })));
    assert_eq!(s.next_changelog_offset().unwrap(), 0);
}

#[test]
fn a_closed_store_comes_back_with_its_offset_and_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let stores = RocksStores::open(dir.path(), &identity()).unwrap();
    let mut s = stores.open_rocks(7).unwrap();
    s.apply(&[w("k", Some("v"))], 41).unwrap();
    let before = s.dump().unwrap();
    assert_eq!(before.len(), 2);
    drop(s);
    assert!(dir.path().join("p-0007").is_dir());
    let s = stores.open_rocks(7).unwrap();
    assert_eq!(s.next_changelog_offset().unwrap(), 41);
    assert_eq!(s.dump().unwrap(), before);
}

#[test]
fn the_folder_is_locked_until_the_last_store_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let stores = RocksStores::open(dir.path(), &identity()).unwrap();
    let store = stores.open(0).unwrap();
    drop(stores);
    assert!(matches!(RocksStores::open(dir.path(), &identity()), Err(StoreError::InUse { .. })));
    drop(store);
    RocksStores::open(dir.path(), &identity()).unwrap();
}

#[test]
fn a_lost_memtable_leaves_the_store_behind_never_torn() {
    let dir = tempfile::tempdir().unwrap();
    let (live, copy) = (dir.path().join("live"), dir.path().join("copy"));
    let stores = RocksStores::open(&live, &identity()).unwrap();
    let mut s = stores.open_rocks(0).unwrap();
    s.apply(&[w("k", Some("1"))], 1).unwrap();
    s.flush().unwrap();
    s.apply(&[w("k", Some("2")), w("l", Some("2"))], 2).unwrap();
    // What kill -9 leaves: the files without the memtable.
    copy_dir(&live, &copy);
    let left = RocksStores::open(&copy, &identity()).unwrap().open_rocks(0).unwrap();
    assert_eq!(left.next_changelog_offset().unwrap(), 1);
    assert_eq!(left.get(b"k").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(left.get(b"l").unwrap(), None);
}

#[test]
fn all_lanes_share_one_cache_and_one_limit_on_unwritten_writes() {
    const ROWS: u32 = 1_250;
    let dir = tempfile::tempdir().unwrap();
    let budget = Budget { cache_bytes: 4 << 20, write_buffers_bytes: 8 << 20, write_buffer_bytes: 64 << 20 };
    let stores = RocksStores::with_budget(dir.path(), &identity(), budget).unwrap();
    let mut open: Vec<RocksStore> = (0..4).map(|lane| stores.open_rocks(lane).unwrap()).collect();
    let limits = stores.memory();
    assert_eq!((limits.cache_limit, limits.write_buffers_limit), (4 << 20, 8 << 20));
    // Lz4 must not make it small, so no two bytes are alike.
    let noise: Vec<u8> = (0..4000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let entry = |n: u32| {
        let value: Vec<u8> = noise.iter().map(|byte| byte ^ (n.wrapping_mul(97) >> 3) as u8).collect();
        (Bytes::copy_from_slice(&n.to_be_bytes()), Some(Bytes::from(value)))
    };
    for n in 0..ROWS {
        for store in &mut open {
            store.apply(&[entry(n)], i64::from(n) + 1).unwrap();
        }
    }
    // 20 MB are written, and no lane comes near its own limit: that less is held is the work of the common one. What is
    // being flushed still counts.
    let deadline = Instant::now() + Duration::from_secs(60);
    while stores.memory().write_buffers > 12 << 20 {
        assert!(Instant::now() < deadline, "{:?}", stores.memory());
        std::thread::yield_now();
    }
    for store in &mut open {
        store.flush().unwrap();
        for n in 0..ROWS {
            assert!(store.get(&u32::to_be_bytes(n)).unwrap().is_some());
        }
    }
    let held = stores.memory();
    assert!(held.cache > 1 << 20 && held.cache <= 6 << 20, "{held:?}");
}

#[test]
fn memory_of_open_files_counts_as_long_as_the_store_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let stores = RocksStores::open(dir.path(), &identity()).unwrap();
    let mut store = stores.open_rocks(0).unwrap();
    store.load(as_batch(&large_batch(0)), 1).unwrap();
    store.settle().unwrap();
    assert!(stores.memory().table_readers > 0, "{:?}", stores.memory());
    drop(store);
    assert_eq!(stores.memory().table_readers, 0);
}

#[test]
fn damage_is_reported_with_its_path_and_a_wipe_heals_it() {
    let dir = tempfile::tempdir().unwrap();
    let stores = RocksStores::open(dir.path(), &identity()).unwrap();
    let mut s = stores.open_rocks(3).unwrap();
    s.apply(&[w("k", Some("v"))], 1).unwrap();
    drop(s);
    let folder = dir.path().join("p-0003");
    std::fs::write(folder.join("CURRENT"), b"nonsense").unwrap();
    let Err(e) = stores.open_rocks(3) else { panic!("a damaged store was opened") };
    assert!(matches!(&e, StoreError::Io { .. }) && e.to_string().contains("p-0003"), "{e}");
    stores.wipe(3).unwrap();
    assert_eq!(stores.open_rocks(3).unwrap().next_changelog_offset().unwrap(), 0);
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for e in std::fs::read_dir(from).unwrap() {
        let e = e.unwrap();
        let target = to.join(e.file_name());
        if e.file_type().unwrap().is_dir() {
            copy_dir(&e.path(), &target)
        } else {
            std::fs::copy(e.path(), target).map(|_| ()).unwrap()
        }
    }
}
