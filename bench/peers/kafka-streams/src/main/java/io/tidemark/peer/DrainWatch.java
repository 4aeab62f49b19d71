package io.tidemark.peer;

import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.common.TopicPartition;

/** Says when the requests that were there at the start are committed. */
final class DrainWatch extends Thread {
  private static final long POLL_MILLIS = 200;

  private final Options options;
  private final CountDownLatch stop;

  DrainWatch(Options options, CountDownLatch stop) {
    super("drain-watch");
    setDaemon(true);
    this.options = options;
    this.stop = stop;
  }

  @Override
  public void run() {
    long began = System.nanoTime();
    try (var admin = Admin.create(Map.of("bootstrap.servers", options.brokers()))) {
      var ends = ends(admin);
      while (!reached(admin, ends)) {
        Thread.sleep(POLL_MILLIS);
      }
      long requests = ends.values().stream().mapToLong(Long::longValue).sum();
      System.out.printf(
          "drained %d requests in %.1f s%n", requests, (System.nanoTime() - began) / 1e9);
      if (options.exitWhenDrained()) {
        stop.countDown();
      }
    } catch (Exception e) {
      System.err.println("cannot tell when the requests are drained: " + e);
    }
  }

  private Map<TopicPartition, Long> ends(Admin admin) throws Exception {
    var topic =
        admin.describeTopics(java.util.List.of(options.requests())).allTopicNames().get()
            .get(options.requests());
    var asked =
        IntStream.range(0, topic.partitions().size())
            .mapToObj(p -> new TopicPartition(options.requests(), p))
            .collect(Collectors.toMap(p -> p, p -> OffsetSpec.latest()));
    return admin.listOffsets(asked).all().get().entrySet().stream()
        .collect(Collectors.toMap(Map.Entry::getKey, e -> e.getValue().offset()));
  }

  private boolean reached(Admin admin, Map<TopicPartition, Long> ends) throws Exception {
    var committed =
        admin.listConsumerGroupOffsets(options.applicationId()).partitionsToOffsetAndMetadata().get();
    return ends.entrySet().stream()
        .allMatch(
            e -> {
              var at = committed.get(e.getKey());
              return e.getValue() == 0 || at != null && at.offset() >= e.getValue();
            });
  }
}
