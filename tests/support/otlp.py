"""A service that measures with the OpenTelemetry SDK and exports to the URL it is given; prints what it measured.

Usage: otlp.py URL delta|cumulative
"""

import json
import random
import sys

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, UpDownCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource

url, temporality = sys.argv[1], AggregationTemporality[sys.argv[2].upper()]
exporter = OTLPMetricExporter(
    url,
    preferred_temporality={kind: temporality for kind in (Counter, Histogram, UpDownCounter)},
    preferred_aggregation={}
    if temporality is AggregationTemporality.DELTA
    else {Histogram: ExponentialBucketHistogramAggregation()},
)
# Exports when it is told to.
reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
provider = MeterProvider([reader], Resource({"service.name": "shop", "service.instance.id": "one"}))
meter = provider.get_meter("test")
orders = meter.create_counter("orders")
baskets = meter.create_up_down_counter("baskets")
latency = meter.create_histogram("latency", "s", "How long it took.")

dice = random.Random(7)
values = []
for more in (3, 5, 4):
    orders.add(more, {"kind": "tea"})
    baskets.add(2 - more)
    for _ in range(400):
        values.append(10 ** dice.uniform(-3, 1.5))
        latency.record(values[-1])
    assert provider.force_flush()
values.sort()
print(json.dumps({"count": len(values), "sum": sum(values), "quantiles": {q: values[int(q * len(values))] for q in (0.1, 0.5, 0.99)}}))
