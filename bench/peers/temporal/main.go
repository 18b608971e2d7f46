// The workloads on Temporal: the worker, and its load generator, which prints what came of it as one line of JSON.
//
//	peer worker
//	peer consumer                                                   starts a workflow for each record of PEER_IN
//	peer load empty|chain|fan|signal IN_FLIGHT WARM_UP_S SECONDS    closed loop: each result starts the next
//	peer load ready                                                 waits for the first result
//
// Environment: TEMPORAL, host:port; and for the workload from topic to topic PEER_KAFKA, host:port, PEER_IN and
// PEER_OUT, topics.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

const (
	queue    = "peer"
	steps    = 10
	pollers  = 16
	cacheLen = 20000
)

type quiet struct{}

func (quiet) Debug(string, ...interface{}) {}
func (quiet) Info(string, ...interface{})  {}
func (quiet) Warn(string, ...interface{})  {}
func (quiet) Error(text string, rest ...interface{}) {
	fmt.Fprintln(os.Stderr, append([]interface{}{text}, rest...)...)
}

var _ log.Logger = quiet{}

func Nothing(context.Context, int) (int, error) { return 1, nil }

func step(ctx workflow.Context, n int) workflow.Future {
	options := workflow.ActivityOptions{StartToCloseTimeout: time.Minute}
	return workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options), Nothing, n)
}

func Empty(_ workflow.Context, n int) (int, error) { return n, nil }

func Chain(ctx workflow.Context) (int, error) {
	sum := 0
	for n := range steps {
		result := 0
		if err := step(ctx, n).Get(ctx, &result); err != nil {
			return 0, err
		}
		sum += result
	}
	return sum, nil
}

func Fan(ctx workflow.Context) (int, error) {
	var children []workflow.ChildWorkflowFuture
	for n := range steps {
		children = append(children, workflow.ExecuteChildWorkflow(ctx, Empty, n))
	}
	sum := 0
	for _, child := range children {
		result := 0
		if err := child.Get(ctx, &result); err != nil {
			return 0, err
		}
		sum += result
	}
	return sum, nil
}

func Signal(ctx workflow.Context) error {
	var value int
	workflow.GetSignalChannel(ctx, "go").Receive(ctx, &value)
	return nil
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func number(text string) float64 {
	value, err := strconv.ParseFloat(text, 64)
	must(err)
	return value
}

func work(c client.Client) {
	w := worker.New(c, queue, worker.Options{MaxConcurrentWorkflowTaskPollers: pollers, MaxConcurrentActivityTaskPollers: pollers})
	worker.SetStickyWorkflowCacheSize(cacheLen)
	for _, function := range []interface{}{Empty, Chain, Fan, Signal} {
		w.RegisterWorkflow(function)
	}
	w.RegisterActivity(Nothing)
	if out := os.Getenv("PEER_OUT"); out != "" {
		registerPipe(w, os.Getenv("PEER_KAFKA"), out)
	}
	must(w.Run(worker.InterruptCh()))
}

func once(ctx context.Context, c client.Client, workload string) error {
	var function interface{}
	var input []interface{}
	switch workload {
	case "empty", "ready":
		function, input = Empty, []interface{}{0}
	case "chain":
		function = Chain
	case "fan":
		function = Fan
	case "signal":
		function = Signal
	default:
		return fmt.Errorf("unknown workload %s", workload)
	}
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{TaskQueue: queue}, function, input...)
	if err != nil {
		return err
	}
	if workload == "signal" {
		if err := c.SignalWorkflow(ctx, run.GetID(), run.GetRunID(), "go", 1); err != nil {
			return err
		}
	}
	return run.Get(ctx, nil)
}

func closed(c client.Client, workload string, inFlight int, warmUp, length float64) {
	began := time.Now()
	begin := began.Add(time.Duration(warmUp * float64(time.Second)))
	end := begin.Add(time.Duration(length * float64(time.Second)))
	var lock sync.Mutex
	var all sync.WaitGroup
	var took []float64
	completed := 0
	for range inFlight {
		all.Add(1)
		go func() {
			defer all.Done()
			for time.Now().Before(end) {
				start := time.Now()
				must(once(context.Background(), c, workload))
				now := time.Now()
				lock.Lock()
				completed++
				if now.After(begin) && now.Before(end) {
					took = append(took, float64(now.Sub(start).Microseconds())/1000)
				}
				lock.Unlock()
			}
		}()
	}
	all.Wait()
	sort.Float64s(took)
	values := map[string]float64{"per_second": float64(len(took)) / length, "completed": float64(completed)}
	if len(took) > 0 {
		values["p50_ms"] = took[(len(took)-1)*50/100]
		values["p99_ms"] = took[(len(took)-1)*99/100]
	}
	must(json.NewEncoder(os.Stdout).Encode(values))
}

func main() {
	c, err := client.Dial(client.Options{HostPort: os.Getenv("TEMPORAL"), Logger: quiet{}})
	must(err)
	switch {
	case os.Args[1] == "worker":
		work(c)
	case os.Args[1] == "consumer":
		consume(c, os.Getenv("PEER_KAFKA"), os.Getenv("PEER_IN"))
	case os.Args[2] == "ready":
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		must(once(ctx, c, "ready"))
	default:
		closed(c, os.Args[2], int(number(os.Args[3])), number(os.Args[4]), number(os.Args[5]))
	}
}
