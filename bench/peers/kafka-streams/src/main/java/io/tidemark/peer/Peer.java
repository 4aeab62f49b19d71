package io.tidemark.peer;

import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;

/**
 * The program: runs the topology of {@link SyncTopology} until it is told to stop, or, with
 * {@code --exit-when-drained}, until the requests that were there at the start are done.
 *
 * <p>On standard output: {@code ready} when all tasks run, and {@code drained <requests> requests in
 * <seconds> s} when every request that was there at the start is committed.
 */
public final class Peer {
  private Peer() {}

  public static void main(String[] args) throws Exception {
    if (args.length == 0 || args[0].equals("--help")) {
      System.out.print(Options.HELP);
      return;
    }
    Options options;
    try {
      options = Options.parse(args);
    } catch (IllegalArgumentException e) {
      System.err.println(e.getMessage() + "\n\n" + Options.HELP);
      System.exit(2);
      return;
    }
    System.exit(run(options));
  }

  private static int run(Options options) throws InterruptedException {
    var stop = new CountDownLatch(1);
    var failed = new Throwable[1];
    try (var streams = new KafkaStreams(SyncTopology.build(options), properties(options))) {
      streams.setUncaughtExceptionHandler(
          e -> {
            failed[0] = e;
            stop.countDown();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
          });
      streams.setStateListener(
          (now, before) -> {
            if (now == KafkaStreams.State.RUNNING) {
              System.out.println("ready");
            }
          });
      Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(10))));
      streams.start();
      var drain = new DrainWatch(options, stop);
      drain.start();
      stop.await();
    }
    if (failed[0] != null) {
      failed[0].printStackTrace();
      return 1;
    }
    return 0;
  }

  /** What differs from Kafka Streams' defaults, each with its reason; see README.md. */
  static Properties properties(Options options) {
    var p = new Properties();
    p.put(StreamsConfig.APPLICATION_ID_CONFIG, options.applicationId());
    p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, options.brokers());
    p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, options.commitMillis());
    p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, options.threads());
    p.put(StreamsConfig.STATE_DIR_CONFIG, options.stateDir());
    p.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
    p.putAll(options.set());
    return p;
  }
}
