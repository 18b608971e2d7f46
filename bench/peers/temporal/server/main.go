// The Temporal server as "temporal server start-dev" sets it up: one process, SQLite, one history shard. The command
// itself cannot be built from the Go proxy, because a submodule of it has no published version.
//
//	server PORT DATABASE_FILE [dynamic.config.key=value | pragma:name=value]...
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/membership/static"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/schema/sqlite"
	"go.temporal.io/server/temporal"
)

const clusterID = "3c0e8e5e-2b0a-4c86-9b0b-2a1d7b0e9a11"

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// settings splits the arguments into the database's pragmas and the server's dynamic configuration.
func settings(arguments []string) (map[string]string, dynamicconfig.StaticClient) {
	pragmas := map[string]string{"mode": "rwc"}
	dynamic := dynamicconfig.StaticClient{ // as the command sets them
		dynamicconfig.HistoryCacheHostLevelMaxSize.Key():                 8096,
		dynamicconfig.FrontendMaxNamespaceVisibilityRPSPerInstance.Key(): 100,
	}
	for _, argument := range arguments {
		key, value, _ := strings.Cut(argument, "=")
		if pragma, ok := strings.CutPrefix(key, "pragma:"); ok {
			pragmas[pragma] = value
		} else if number, err := strconv.Atoi(value); err == nil {
			dynamic[dynamicconfig.MakeKey(key)] = number
		} else {
			dynamic[dynamicconfig.MakeKey(key)] = value == "true"
		}
	}
	return pragmas, dynamic
}

func database(file string, pragmas map[string]string) config.SQL {
	sql := config.SQL{PluginName: sqliteplugin.PluginName, DatabaseName: file, ConnectAttributes: pragmas}
	if _, err := os.Stat(file); os.IsNotExist(err) {
		must(sqlite.SetupSchema(&sql))
	}
	namespace, err := sqlite.NewNamespaceConfig("active", "default", false, nil)
	must(err)
	must(sqlite.CreateNamespaces(&sql, namespace))
	return sql
}

func main() {
	port, err := strconv.Atoi(os.Args[1])
	must(err)
	pragmas, dynamic := settings(os.Args[3:])
	sql := database(os.Args[2], pragmas)
	visibility := sql

	c := &config.Config{}
	c.Global.Membership.MaxJoinDuration = 30e9
	c.Global.Membership.BroadcastAddress = "127.0.0.1"
	c.Persistence.DefaultStore, c.Persistence.VisibilityStore = "store", "visibility"
	c.Persistence.NumHistoryShards = 1
	c.Persistence.DataStores = map[string]config.DataStore{"store": {SQL: &sql}, "visibility": {SQL: &visibility}}
	c.ClusterMetadata = &cluster.Config{FailoverVersionIncrement: 10, MasterClusterName: "active",
		CurrentClusterName: "active", ClusterInformation: map[string]cluster.ClusterInformation{
			"active": {Enabled: true, InitialFailoverVersion: 1, RPCAddress: address(port), ClusterID: clusterID}}}
	c.DCRedirectionPolicy.Policy = "noop"
	c.Archival.History.State, c.Archival.Visibility.State = "disabled", "disabled"
	c.NamespaceDefaults.Archival.History.State, c.NamespaceDefaults.Archival.Visibility.State = "disabled", "disabled"
	c.PublicClient.HostPort = address(port)
	c.Services = map[string]config.Service{}
	hosts := map[primitives.ServiceName]static.Hosts{}
	for number, name := range []primitives.ServiceName{primitives.FrontendService, primitives.HistoryService,
		primitives.MatchingService, primitives.WorkerService} {
		var service config.Service
		service.RPC.GRPCPort, service.RPC.BindOnIP = port+number, "127.0.0.1"
		c.Services[string(name)] = service
		hosts[name] = static.SingleLocalHost(address(port + number))
	}
	logger := log.NewZapLogger(log.BuildZapLogger(log.Config{Level: "error"}))
	authorizer, err := authorization.GetAuthorizerFromConfig(&c.Global.Authorization)
	must(err)
	claims, err := authorization.GetClaimMapperFromConfig(&c.Global.Authorization, logger)
	must(err)
	server, err := temporal.NewServer(temporal.WithConfig(c), temporal.ForServices(temporal.DefaultServices),
		temporal.WithStaticHosts(hosts), temporal.WithLogger(logger), temporal.WithAuthorizer(authorizer),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper { return claims }),
		temporal.WithDynamicConfigClient(dynamic), temporal.InterruptOn(temporal.InterruptCh()))
	must(err)
	must(server.Start())
}
