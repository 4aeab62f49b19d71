package io.tidemark.peer;

import com.google.protobuf.InvalidProtocolBufferException;
import java.nio.charset.StandardCharsets;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import tidemark.v1.Tidemark.OplogEntry;
import tidemark.v1.Tidemark.SyncRequest;

/**
 * Drops what the dedupe window has seen, gives the rest the next id of its (instance, business,
 * link token) and writes it out. Stream time only, so that a replay decides the same.
 */
final class SyncProcessor implements Processor<byte[], byte[], byte[], byte[]> {
  /** Marks a record of Tidemark's own, which is not a request. */
  private static final String CONTROL_HEADER = "tidemark-control";

  private final Dedupe.Kind kind;
  private ProcessorContext<byte[], byte[]> context;
  private KeyValueStore<byte[], Long> counters;
  private Dedupe dedupe;

  SyncProcessor(Dedupe.Kind kind) {
    this.kind = kind;
  }

  @Override
  public void init(ProcessorContext<byte[], byte[]> context) {
    this.context = context;
    this.counters = context.getStateStore(SyncTopology.COUNTERS);
    this.dedupe = kind.open(context);
  }

  @Override
  public void process(Record<byte[], byte[]> record) {
    if (record.headers().lastHeader(CONTROL_HEADER) != null) {
      return;
    }
    SyncRequest request;
    try {
      request = SyncRequest.parseFrom(record.value());
    } catch (InvalidProtocolBufferException e) {
      return; // a poison record blocks nobody
    }
    if (!complete(request)) {
      return;
    }
    byte[] counter = key(request.getInstanceId(), request.getBizType(), request.getLinkToken());
    byte[] message = join(counter, request.getThirdMsgId().getBytes(StandardCharsets.UTF_8));
    long now = context.currentStreamTimeMs();
    if (dedupe.find(message, now) != 0) {
      return;
    }
    Long last = counters.get(counter);
    long id = last == null ? 1 : last + 1;
    counters.put(counter, id);
    dedupe.put(message, id, now);
    context.forward(record.withValue(entry(request, id, now)));
  }

  private static boolean complete(SyncRequest request) {
    return !request.getInstanceId().isEmpty()
        && !request.getBizType().isEmpty()
        && !request.getLinkToken().isEmpty()
        && !request.getThirdMsgId().isEmpty()
        && (!request.getPayload().isEmpty() || !request.getBinaryPayload().isEmpty());
  }

  private byte[] entry(SyncRequest request, long id, long now) {
    long offset = context.recordMetadata().map(m -> m.offset()).orElse(-1L);
    long end = now + Dedupe.WINDOW.toMillis();
    if (request.getValidTimeEnd() != 0) {
      end = Math.min(end, request.getValidTimeEnd());
    }
    return OplogEntry.newBuilder()
        .setInstanceId(request.getInstanceId())
        .setBizType(request.getBizType())
        .setLinkToken(request.getLinkToken())
        .setThirdMsgId(request.getThirdMsgId())
        .setPayload(request.getPayload())
        .setBinaryPayload(request.getBinaryPayload())
        .setOsType(request.getOsType())
        .setAppMinVersion(request.getAppMinVersion())
        .setAppMaxVersion(request.getAppMaxVersion())
        .setValidTimeEnd(end)
        .setOplogId(id)
        .setRequestOffset(offset)
        .setStreamTime(now)
        .build()
        .toByteArray();
  }

  /** A store key: the parts with a zero byte after each, which none of them holds. */
  private static byte[] key(String... parts) {
    return (String.join("\0", parts) + "\0").getBytes(StandardCharsets.UTF_8);
  }

  private static byte[] join(byte[] a, byte[] b) {
    byte[] both = java.util.Arrays.copyOf(a, a.length + b.length);
    System.arraycopy(b, 0, both, a.length, b.length);
    return both;
  }
}
