package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/tidemarkio/tidemark/connectors/edge"
	"github.com/tidemarkio/tidemark/connectors/ingress"
	"github.com/tidemarkio/tidemark/schemas"
)

// TraceConfig says where traces of requests go: from the call over decision and
// append to the push and its acknowledgement. The zero value traces nothing,
// and costs nothing.
type TraceConfig struct {
	// Endpoint is the OTLP/HTTP receiver, such as http://127.0.0.1:4318; empty:
	// nothing is traced.
	Endpoint string
	// Sample is the share of calls to trace that bring no traceparent of their
	// own, 0 to 1. One that brings a traceparent decides for itself.
	Sample float64

	exporter sdktrace.SpanExporter // in tests, in place of Endpoint
}

// Validate names what is wrong.
func (c *TraceConfig) Validate() error {
	if c.Sample < 0 || c.Sample > 1 {
		return fmt.Errorf("--trace-sample %v: from 0 to 1", c.Sample)
	}
	if c.Endpoint == "" {
		if c.Sample > 0 && c.exporter == nil {
			return errors.New("--trace-sample without --otlp-endpoint: say where traces go")
		}
		return nil
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("--otlp-endpoint %q: want an address such as http://127.0.0.1:4318", c.Endpoint)
	}
	return nil
}

// traceStop bounds the export of the last spans when a process stops.
const traceStop = 5 * time.Second

// tracing makes spans. A nil one makes none.
type tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	w3c      propagation.TraceContext
}

// openTracing gives nil where nothing is to be traced. Spans wait in a queue of
// 2,048; past it they are dropped, and nothing waits for the receiver.
func openTracing(ctx context.Context, cfg TraceConfig, role, version string) (*tracing, error) {
	exporter := cfg.exporter
	if cfg.Endpoint != "" {
		endpoint, err := url.Parse(cfg.Endpoint)
		if err != nil {
			return nil, fmt.Errorf("open trace exporter: %w", err)
		}
		if endpoint.Path == "" || endpoint.Path == "/" {
			endpoint.Path = "/v1/traces"
		}
		if exporter, err = otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint.String())); err != nil {
			return nil, fmt.Errorf("open trace exporter: %w", err)
		}
	}
	if exporter == nil {
		return nil, nil
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter, sdktrace.WithBatchTimeout(time.Second)),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(cfg.Sample))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "tidemark-"+role), attribute.String("service.version", version))),
	)
	return &tracing{provider: provider, tracer: provider.Tracer("github.com/tidemarkio/tidemark")}, nil
}

// run waits for the end, and then for the last spans to be exported.
func (t *tracing) run(ctx context.Context) error {
	<-ctx.Done()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), traceStop)
	defer cancel()
	if err := t.provider.Shutdown(stop); err != nil {
		return fmt.Errorf("export the last traces: %w", err)
	}
	return nil
}

// begin starts a span under a parent, if that is sampled.
func (t *tracing) begin(name, parent string, start time.Time, opts ...trace.SpanStartOption) (string, trace.Span) {
	ctx := t.w3c.Extract(context.Background(), propagation.MapCarrier{schemas.HeaderTraceparent: parent})
	ctx, span := t.tracer.Start(ctx, name, append(opts, trace.WithTimestamp(start))...)
	if !span.IsRecording() {
		return "", span
	}
	carrier := propagation.MapCarrier{}
	t.w3c.Inject(ctx, carrier)
	return carrier[schemas.HeaderTraceparent], span
}

// call begins the span of a call of the push API.
func (t *tracing) call(r *http.Request) (string, func(schemas.Code)) {
	traceparent, span := t.begin("call", r.Header.Get(schemas.HeaderTraceparent), time.Now(), trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("url.path", r.URL.Path), attribute.String("tidemark.instance", r.URL.Query().Get("instanceId"))))
	return traceparent, func(code schemas.Code) {
		span.SetAttributes(attribute.String("tidemark.code", string(code)))
		if code == schemas.SystemError {
			span.SetStatus(codes.Error, "the outcome is unknown to the caller")
		}
		span.End()
	}
}

// append begins the span of an entry's decision and append.
func (t *tracing) append(parent string, taken time.Time) (string, func(error)) {
	traceparent, span := t.begin("append", parent, taken, trace.WithSpanKind(trace.SpanKindProducer))
	return traceparent, ending(span)
}

// delivery begins the span of a push or its acknowledgement.
func (t *tracing) delivery(name, parent string, start time.Time) (string, func(error)) {
	traceparent, span := t.begin(name, parent, start)
	return traceparent, ending(span)
}

func ending(span trace.Span) func(error) {
	return func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

// traceCalls is the ingress' hook; nil when nothing is traced.
func (t *tracing) traceCalls() ingress.Trace {
	if t == nil {
		return nil
	}
	return t.call
}

// traceDelivery is the edge's.
func (t *tracing) traceDelivery() edge.Trace {
	if t == nil {
		return nil
	}
	return t.delivery
}
