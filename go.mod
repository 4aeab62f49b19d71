module github.com/tidemarkio/tidemark

go 1.26

require (
	github.com/segmentio/encoding v0.5.4
	github.com/zeebo/xxh3 v1.1.0
	google.golang.org/protobuf v1.36.12
)

require (
	github.com/klauspost/cpuid/v2 v2.2.10 // indirect
	github.com/segmentio/asm v1.1.3 // indirect
	golang.org/x/sys v0.30.0 // indirect
)
