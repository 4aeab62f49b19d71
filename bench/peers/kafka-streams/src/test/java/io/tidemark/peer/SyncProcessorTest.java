package io.tidemark.peer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.streams.TestInputTopic;
import org.apache.kafka.streams.TestOutputTopic;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.test.TestRecord;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tidemark.v1.Tidemark.OplogEntry;
import tidemark.v1.Tidemark.SyncRequest;

/** The same rules for both ways of remembering. */
class SyncProcessorTest {
  private static final Instant START = Instant.ofEpochMilli(1_800_000_000_000L);

  @TempDir Path dir;

  private interface Story {
    void tell(TestInputTopic<byte[], byte[]> in, TestOutputTopic<byte[], byte[]> out) throws Exception;
  }

  private void play(String dedupe, Story story) throws Exception {
    var options =
        Options.parse(new String[] {"--brokers", "none:1", "--state-dir", dir.toString(), "--dedupe", dedupe});
    try (var driver =
        new TopologyTestDriver(SyncTopology.build(options), Peer.properties(options), START)) {
      var bytes = new ByteArraySerializer();
      var read = new ByteArrayDeserializer();
      story.tell(
          driver.createInputTopic(options.requests(), bytes, bytes),
          driver.createOutputTopic(options.entries(), read, read));
    }
  }

  private static TestRecord<byte[], byte[]> request(String biz, String token, String id, Instant at) {
    var value =
        SyncRequest.newBuilder()
            .setInstanceId("i")
            .setBizType(biz)
            .setLinkToken(token)
            .setThirdMsgId(id)
            .setPayload("p")
            .build();
    return new TestRecord<>(token.getBytes(), value.toByteArray(), at);
  }

  private static List<String> entries(TestOutputTopic<byte[], byte[]> out) throws Exception {
    var found = new java.util.ArrayList<String>();
    for (byte[] value : out.readValuesToList()) {
      var e = OplogEntry.parseFrom(value);
      found.add(e.getBizType() + "/" + e.getLinkToken() + "/" + e.getThirdMsgId() + "=" + e.getOplogId());
    }
    return found;
  }

  @ParameterizedTest
  @ValueSource(strings = {"window", "kv"})
  void idsAreGaplessPerBusinessAndTokenAndRepeatsAreDropped(String dedupe) throws Exception {
    play(
        dedupe,
        (in, out) -> {
          in.pipeInput(request("A", "u1", "m1", START));
          in.pipeInput(request("A", "u1", "m2", START));
          in.pipeInput(request("A", "u1", "m1", START));
          in.pipeInput(request("A", "u2", "m1", START));
          in.pipeInput(request("B", "u1", "m1", START));
          in.pipeInput(request("A", "u1", "m3", START.plusSeconds(1)));
          assertEquals(
              List.of("A/u1/m1=1", "A/u1/m2=2", "A/u2/m1=1", "B/u1/m1=1", "A/u1/m3=3"), entries(out));
        });
  }

  @ParameterizedTest
  @ValueSource(strings = {"window", "kv"})
  void messagesAreRememberedForThirtyDaysOfStreamTime(String dedupe) throws Exception {
    play(
        dedupe,
        (in, out) -> {
          in.pipeInput(request("A", "u1", "m1", START));
          in.pipeInput(request("A", "u1", "m1", START.plus(Duration.ofDays(30))));
          in.pipeInput(request("A", "u1", "m1", START.plus(Duration.ofDays(30).plusMillis(1))));
          assertEquals(List.of("A/u1/m1=1", "A/u1/m1=2"), entries(out));
        });
  }

  @ParameterizedTest
  @ValueSource(strings = {"window", "kv"})
  void rubbishAndControlRecordsBlockNothing(String dedupe) throws Exception {
    play(
        dedupe,
        (in, out) -> {
          in.pipeInput(new TestRecord<>("u1".getBytes(), new byte[] {1, 2, 3}, START));
          var control = request("A", "u1", "m0", START);
          control.headers().add("tidemark-control", new byte[0]);
          in.pipeInput(control);
          in.pipeInput(request("", "u1", "m1", START));
          assertTrue(out.isEmpty());
          in.pipeInput(request("A", "u1", "m1", START));
          assertEquals(List.of("A/u1/m1=1"), entries(out));
        });
  }
}
