package io.tidemark.peer;

import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/** requests → {@link SyncProcessor} with two stores → entries. */
final class SyncTopology {
  static final String COUNTERS = "counters";

  private SyncTopology() {}

  static Topology build(Options options) {
    var bytesIn = new ByteArrayDeserializer();
    var bytesOut = new ByteArraySerializer();
    return new Topology()
        .addSource("requests", bytesIn, bytesIn, options.requests())
        .addProcessor("sync", () -> new SyncProcessor(options.dedupe()), "requests")
        .addStateStore(counters(options), "sync")
        .addStateStore(options.dedupe().store(), "sync")
        // Entries keep the partition of their key: the default partitioner is the producers' own.
        .addSink("entries", options.entries(), bytesOut, bytesOut, "sync");
  }

  private static StoreBuilder<KeyValueStore<byte[], Long>> counters(Options options) {
    var counters =
        Stores.keyValueStoreBuilder(
            Stores.persistentKeyValueStore(COUNTERS), Serdes.ByteArray(), Serdes.Long());
    return options.caching() ? counters.withCachingEnabled() : counters;
  }
}
