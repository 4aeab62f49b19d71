package io.tidemark.peer;

import java.util.HashMap;
import java.util.Map;

/** The command line. */
record Options(
    String brokers,
    String requests,
    String entries,
    String applicationId,
    String stateDir,
    Dedupe.Kind dedupe,
    long commitMillis,
    int threads,
    boolean caching,
    boolean exitWhenDrained,
    Map<String, String> set) {

  static final String HELP =
      """
      The sync task's job with Kafka Streams, exactly_once_v2.

        --brokers host:port,...     where Kafka is (required)
        --state-dir DIR             local stores (required)
        --requests TOPIC            default tidemark.requests
        --entries TOPIC             default peer.entries
        --application-id ID         consumer group and prefix of internal topics, default peer
        --dedupe window|kv          which store remembers thirdMsgIds, default window
        --commit-ms N               commit interval, default 100
        --threads N                 stream threads, default 2
        --caching                   record cache before the counter store, default off
        --exit-when-drained         end when the requests that were there at the start are done
        --set KEY=VALUE             any setting of Kafka Streams, may be repeated

      Example:
        java -cp 'target/kafka-streams-peer.jar:target/lib/*' io.tidemark.peer.Peer \\
          --brokers 127.0.0.1:9092 --state-dir /var/tmp/peer --dedupe kv --exit-when-drained
      """;

  static Options parse(String[] args) {
    var given = new HashMap<String, String>();
    var set = new HashMap<String, String>();
    for (int i = 0; i < args.length; i++) {
      switch (args[i]) {
        case "--caching", "--exit-when-drained" -> given.put(args[i], "true");
        case "--set" -> {
          String[] pair = valueOf(args, i++).split("=", 2);
          if (pair.length != 2) {
            throw new IllegalArgumentException("--set wants KEY=VALUE");
          }
          set.put(pair[0], pair[1]);
        }
        case "--brokers", "--requests", "--entries", "--application-id", "--state-dir", "--dedupe",
            "--commit-ms", "--threads" -> given.put(args[i], valueOf(args, i++));
        default -> throw new IllegalArgumentException("unknown option " + args[i]);
      }
    }
    for (var required : new String[] {"--brokers", "--state-dir"}) {
      if (!given.containsKey(required)) {
        throw new IllegalArgumentException(required + " is missing");
      }
    }
    return new Options(
        given.get("--brokers"),
        given.getOrDefault("--requests", "tidemark.requests"),
        given.getOrDefault("--entries", "peer.entries"),
        given.getOrDefault("--application-id", "peer"),
        given.get("--state-dir"),
        Dedupe.Kind.of(given.getOrDefault("--dedupe", "window")),
        Long.parseLong(given.getOrDefault("--commit-ms", "100")),
        Integer.parseInt(given.getOrDefault("--threads", "2")),
        given.containsKey("--caching"),
        given.containsKey("--exit-when-drained"),
        Map.copyOf(set));
  }

  private static String valueOf(String[] args, int i) {
    if (i + 1 >= args.length) {
      throw new IllegalArgumentException(args[i] + " wants a value");
    }
    return args[i + 1];
  }
}
