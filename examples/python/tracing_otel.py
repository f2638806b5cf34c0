"""A span of OpenTelemetry for each statement, below the span of the code that made the call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import looplite
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode


def span_per_statement(tracer: trace.Tracer, name: str) -> Callable[[looplite.Statement], None]:
    def on_statement(statement: looplite.Statement) -> None:
        if statement.where is None:
            return  # it never ran
        # A statement's clock is time.monotonic_ns(); spans count from 1970.
        start = statement.started_ns + time.time_ns() - time.monotonic_ns()
        span = tracer.start_span(
            statement.sql.split(maxsplit=1)[0].upper(),
            kind=SpanKind.CLIENT,
            start_time=start,
            attributes={
                "db.system.name": "sqlite",
                "db.namespace": name,
                "db.query.text": statement.sql,
                "looplite.where": statement.where,
                "looplite.applied": statement.applied,
            },
        )
        if statement.rows is not None:
            span.set_attribute("db.response.returned_rows", statement.rows)
        if statement.error is not None:
            span.set_attribute("error.type", statement.error.__name__)
            span.set_status(Status(StatusCode.ERROR, statement.message))
        span.end(start + statement.duration_ns)

    return on_statement


async def main(tracer: trace.Tracer) -> None:
    hook = span_per_statement(tracer, "notes")
    async with looplite.connect(":memory:", on_statement=hook) as db:
        with tracer.start_as_current_span("prepare"):
            await db.execute("CREATE TABLE note(id INTEGER PRIMARY KEY, text)")

        async def request(number: int) -> None:
            with tracer.start_as_current_span(f"request {number}"):
                await db.execute("INSERT INTO note VALUES (?, 'text')", (number,))
                await db.execute_fetchall("SELECT text FROM note WHERE id = ?", (number,))

        await asyncio.gather(request(1), request(2))
        await db.commit()


def show(spans: tuple[ReadableSpan, ...]) -> None:
    names = {span.context.span_id: span.name for span in spans}
    for span in spans:
        if span.kind is SpanKind.CLIENT:
            parent = names[span.parent.span_id] if span.parent else "-"
            print(f"{span.name:6} in {parent}")


if __name__ == "__main__":
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    asyncio.run(main(provider.get_tracer("example")))
    show(exporter.get_finished_spans())
