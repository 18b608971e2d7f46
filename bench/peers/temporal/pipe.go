package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

const (
	// A plain consumer starts so many workflows at once, and then commits.
	batch = 64
	// Somewhat more than the longest run of an activity, as the documentation says; it is how long Temporal takes to
	// notice that a worker died in the middle of one.
	pipeActivityTimeout = 5 * time.Second
)

// Pipe is three steps between a record of one topic and a record of another.
func Pipe(ctx workflow.Context, key, value string) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: pipeActivityTimeout})
	for n := range 3 {
		if err := workflow.ExecuteActivity(ctx, Nothing, n).Get(ctx, nil); err != nil {
			return err
		}
	}
	var out *output
	return workflow.ExecuteActivity(ctx, out.Produce, key, value).Get(ctx, nil)
}

type output struct {
	kafka *kgo.Client
	topic string
}

// Produce returns when the record is acknowledged. franz-go's producers are idempotent and wait for all copies.
func (o *output) Produce(ctx context.Context, key, value string) error {
	record := &kgo.Record{Topic: o.topic, Key: []byte(key), Value: []byte(value)}
	return o.kafka.ProduceSync(ctx, record).FirstErr()
}

func registerPipe(w worker.Worker, kafka, topic string) {
	producer, err := kgo.NewClient(kgo.SeedBrokers(kafka))
	must(err)
	w.RegisterWorkflow(Pipe)
	w.RegisterActivity(&output{producer, topic})
}

// The id of a workflow names its record, so a record that is read again starts nothing.
func consume(c client.Client, kafka, topic string) {
	consumer, err := kgo.NewClient(kgo.SeedBrokers(kafka), kgo.ConsumerGroup(topic+"-temporal"), kgo.ConsumeTopics(topic),
		kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	must(err)
	ctx := context.Background()
	for {
		fetches := consumer.PollRecords(ctx, batch)
		for _, failed := range fetches.Errors() {
			must(failed.Err)
		}
		var all sync.WaitGroup
		fetches.EachRecord(func(record *kgo.Record) {
			all.Add(1)
			go func() {
				defer all.Done()
				options := client.StartWorkflowOptions{
					TaskQueue:             queue,
					ID:                    fmt.Sprintf("%s-%d-%d", record.Topic, record.Partition, record.Offset),
					WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
				}
				_, err := c.ExecuteWorkflow(ctx, options, Pipe, string(record.Key), string(record.Value))
				must(err)
			}()
		})
		all.Wait()
		must(consumer.CommitRecords(ctx, fetches.Records()...))
	}
}
