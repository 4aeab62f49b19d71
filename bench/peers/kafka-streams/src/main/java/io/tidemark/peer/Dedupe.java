package io.tidemark.peer;

import java.nio.ByteBuffer;
import java.time.Duration;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;

/** Remembers which messages were seen within {@link #WINDOW} of stream time, and their ids. */
interface Dedupe {
  Duration WINDOW = Duration.ofDays(30);
  String STORE = "dedupe";

  /** The id that the message got, or 0 if it was not seen within the window before now. */
  long find(byte[] message, long now);

  void put(byte[] message, long id, long now);

  /** The two ways that users of Kafka Streams do it. */
  enum Kind {
    /** A window store: expiry is dropping a segment, a look-up is a range scan over segments. */
    WINDOW {
      @Override
      StoreBuilder<?> store() {
        return Stores.windowStoreBuilder(
            Stores.persistentWindowStore(STORE, Dedupe.WINDOW, Dedupe.WINDOW, false),
            Serdes.ByteArray(),
            Serdes.Long());
      }

      @Override
      Dedupe open(ProcessorContext<?, ?> context) {
        return new Windowed(context.getStateStore(STORE));
      }
    },
    /** A key-value store: a look-up is a get, expiry is a daily scan of everything. */
    KV {
      @Override
      StoreBuilder<?> store() {
        return Stores.keyValueStoreBuilder(
            Stores.persistentKeyValueStore(STORE), Serdes.ByteArray(), Serdes.ByteArray());
      }

      @Override
      Dedupe open(ProcessorContext<?, ?> context) {
        var dedupe = new KeyValue(context.getStateStore(STORE));
        context.schedule(Duration.ofDays(1), PunctuationType.STREAM_TIME, dedupe::expire);
        return dedupe;
      }
    };

    static Kind of(String name) {
      return switch (name) {
        case "window" -> WINDOW;
        case "kv" -> KV;
        default -> throw new IllegalArgumentException("--dedupe is window or kv, not " + name);
      };
    }

    abstract StoreBuilder<?> store();

    abstract Dedupe open(ProcessorContext<?, ?> context);
  }

  /** See {@link Kind#WINDOW}. */
  record Windowed(WindowStore<byte[], Long> store) implements Dedupe {
    @Override
    public long find(byte[] message, long now) {
      try (var seen = store.fetch(message, Math.max(0, now - WINDOW.toMillis()), now)) {
        return seen.hasNext() ? seen.next().value : 0;
      }
    }

    @Override
    public void put(byte[] message, long id, long now) {
      store.put(message, id, now);
    }
  }

  /** See {@link Kind#KV}. A value is the id and the stream time, eight bytes each. */
  record KeyValue(KeyValueStore<byte[], byte[]> store) implements Dedupe {
    @Override
    public long find(byte[] message, long now) {
      byte[] seen = store.get(message);
      return seen == null || expired(seen, now) ? 0 : ByteBuffer.wrap(seen).getLong();
    }

    @Override
    public void put(byte[] message, long id, long now) {
      store.put(message, ByteBuffer.allocate(16).putLong(id).putLong(now).array());
    }

    void expire(long now) {
      try (var all = store.all()) {
        while (all.hasNext()) {
          var next = all.next();
          if (expired(next.value, now)) {
            store.delete(next.key);
          }
        }
      }
    }

    private static boolean expired(byte[] value, long now) {
      return ByteBuffer.wrap(value).getLong(8) < now - WINDOW.toMillis();
    }
  }
}
