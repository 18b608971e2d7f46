import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.processor.api.*;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.*;

/**
 * A workflow written by hand on Kafka Streams: each step is a record through a topic, how far an instance is stands in
 * a state store, and everything is exactly once.
 *
 * <pre>
 * Peer app STATE_FOLDER
 * Peer load chain IN_FLIGHT WARM_UP_S SECONDS   closed loop: each result starts the next
 * Peer load pipe PER_SECOND WARM_UP_S SECONDS   three steps from topic to topic, at a steady rate
 * Peer load ready                               waits for the first result
 * </pre>
 *
 * Environment: PEER_KAFKA, host:port; PEER_IN and PEER_OUT, topics of an app that is going to be killed. The load prints what came of it as one line of JSON.
 */
public class Peer {
    static final String KAFKA = System.getenv("PEER_KAFKA");
    static final boolean KILLED = System.getenv("PEER_IN") != null;
    static final String START = KILLED ? System.getenv("PEER_IN") : "streams-start";
    static final String STEPS = KILLED ? START + "-steps" : "streams-steps";
    static final String DONE = KILLED ? System.getenv("PEER_OUT") : "streams-done";
    static final int PARTITIONS = 8, THREADS = 2;
    static final long COMMIT_MS = 10, PATIENCE_S = 60;

    /** One hop: counts the steps that are done; the next one is a record to the topic of steps. */
    static class Step implements Processor<byte[], byte[], byte[], byte[]> {
        private ProcessorContext<byte[], byte[]> context;
        private KeyValueStore<byte[], Long> done;

        public void init(ProcessorContext<byte[], byte[]> context) {
            this.context = context;
            done = context.getStateStore("instances");
        }

        /** The value is how many steps the instance has, and a space, and what its maker wants to see again. */
        public void process(Record<byte[], byte[]> record) {
            String text = new String(record.value(), StandardCharsets.UTF_8);
            long steps = Long.parseLong(text.substring(0, text.indexOf(' ')));
            Long before = done.get(record.key());
            long now = (before == null ? 0 : before) + 1;
            if (now == steps) {
                done.delete(record.key());
                context.forward(record, "done");
            } else {
                done.put(record.key(), now);
                context.forward(record, "next");
            }
        }
    }

    static void app(String folder) throws Exception {
        Properties p = new Properties();
        p.put("application.id", KILLED ? "streams-killed" : "streams-peer");
        p.put("bootstrap.servers", KAFKA);
        p.put("state.dir", folder);
        p.put("processing.guarantee", "exactly_once_v2");
        p.put("commit.interval.ms", COMMIT_MS);
        p.put("num.stream.threads", THREADS);
        p.put("replication.factor", 1);
        p.put("auto.offset.reset", "earliest");
        p.put("default.key.serde", Serdes.ByteArraySerde.class);
        p.put("default.value.serde", Serdes.ByteArraySerde.class);
        p.put("producer.linger.ms", 0);
        p.put("consumer.fetch.max.wait.ms", 10);
        p.put("poll.ms", 5);
        if (KILLED) {
            // A static member, as its documentation advises, and else its defaults: a restart moves no partition.
            p.put("group.instance.id", "only");
        } else {
            // It is frozen while others are measured, and must not lose its partitions by that.
            p.put("consumer.session.timeout.ms", 3_000_000);
            p.put("consumer.max.poll.interval.ms", 3_000_000);
            p.put("producer.transaction.timeout.ms", 900_000);
        }
        StoreBuilder<KeyValueStore<byte[], Long>> store = Stores.keyValueStoreBuilder(
            Stores.persistentKeyValueStore("instances"), Serdes.ByteArray(), Serdes.Long());
        Topology topology = new Topology().addSource("in", START, STEPS).addProcessor("step", Step::new, "in")
            .addStateStore(store, "step").addSink("next", STEPS, "step").addSink("done", DONE, "step");
        KafkaStreams streams = new KafkaStreams(topology, p);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(10))));
        streams.start();
        new CountDownLatch(1).await();
    }

    static void makeTopics() throws Exception {
        try (Admin admin = Admin.create(Map.<String, Object>of("bootstrap.servers", KAFKA))) {
            Set<String> there = admin.listTopics().names().get();
            List<NewTopic> topics = new ArrayList<>();
            for (String name : List.of(START, STEPS, DONE))
                if (!there.contains(name)) topics.add(new NewTopic(name, PARTITIONS, (short) 1));
            admin.createTopics(topics).all().get();
        }
    }

    static KafkaProducer<byte[], byte[]> producer() {
        return new KafkaProducer<>(Map.of("bootstrap.servers", KAFKA, "acks", "all", "linger.ms", 0),
            new ByteArraySerializer(), new ByteArraySerializer());
    }

    static KafkaConsumer<byte[], byte[]> results() {
        KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(Map.of("bootstrap.servers", KAFKA,
            "isolation.level", "read_committed", "fetch.max.wait.ms", 10),
            new ByteArrayDeserializer(), new ByteArrayDeserializer());
        List<TopicPartition> all = new ArrayList<>();
        for (int n = 0; n < PARTITIONS; n++) all.add(new TopicPartition(DONE, n));
        consumer.assign(all);
        consumer.seekToEnd(all);
        for (TopicPartition one : all) consumer.position(one);
        return consumer;
    }

    static ProducerRecord<byte[], byte[]> start(String id, int steps) {
        String value = steps + " " + id;
        return new ProducerRecord<>(START, id.getBytes(StandardCharsets.UTF_8), value.getBytes(StandardCharsets.UTF_8));
    }

    /** Runs until all is done; PER_SECOND 0 is a closed loop of so many in flight. */
    static String load(int steps, int inFlight, int perSecond, double warmUp, double length) throws Exception {
        Map<String, Long> open = new HashMap<>();
        List<Long> took = new ArrayList<>();
        long salt = System.nanoTime(), started = 0, completed = 0, repeated = 0, begin = System.nanoTime();
        long from = begin + (long) (warmUp * 1e9), to = from + (long) (length * 1e9);
        try (KafkaConsumer<byte[], byte[]> consumer = results(); KafkaProducer<byte[], byte[]> producer = producer()) {
            while (System.nanoTime() < to || (!open.isEmpty() && System.nanoTime() < to + PATIENCE_S * 1_000_000_000L)) {
                long now = System.nanoTime(), due = perSecond == 0 ? Long.MAX_VALUE : (now - begin) * perSecond / 1_000_000_000L;
                while (now < to && started < due && (perSecond > 0 || open.size() < inFlight)) {
                    String id = salt + "-" + started;
                    open.put(id, perSecond == 0 ? System.nanoTime() : begin + started * 1_000_000_000L / perSecond);
                    producer.send(start(id, steps));
                    started++;
                }
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(perSecond == 0 ? 20 : 1))) {
                    Long since = open.remove(new String(record.key(), StandardCharsets.UTF_8));
                    long at = System.nanoTime();
                    if (since == null) { repeated++; continue; }
                    completed++;
                    // At a steady rate a late result counts as well, or a pause would hide itself.
                    if (perSecond > 0 ? since >= from : at >= from && at < to) took.add(at - since);
                }
            }
        }
        Collections.sort(took);
        return String.format(Locale.ROOT, "{\"per_second\":%f,\"completed\":%d,\"lost\":%d,\"repeated\":%d%s}",
            took.size() / length, completed, open.size(), repeated, quantiles(took));
    }

    static String quantiles(List<Long> took) {
        if (took.isEmpty()) return "";
        double p50 = took.get((took.size() - 1) / 2) / 1e6, p99 = took.get((int) ((took.size() - 1) * 0.99)) / 1e6;
        return String.format(Locale.ROOT, ",\"p50_ms\":%f,\"p99_ms\":%f,\"max_ms\":%f", p50, p99,
            took.get(took.size() - 1) / 1e6);
    }

    public static void main(String[] a) throws Exception {
        switch (a[0] + " " + (a.length > 1 ? a[1] : "")) {
            case "load ready" -> System.out.println(load(1, 1, 0, 0, 0.1));
            case "load chain" ->
                System.out.println(load(10, Integer.parseInt(a[2]), 0, Double.parseDouble(a[3]), Double.parseDouble(a[4])));
            case "load pipe" ->
                System.out.println(load(3, 0, Integer.parseInt(a[2]), Double.parseDouble(a[3]), Double.parseDouble(a[4])));
            default -> {
                if (!a[0].equals("app")) throw new IllegalArgumentException(String.join(" ", a));
                makeTopics();
                app(a[1]);
            }
        }
    }
}
