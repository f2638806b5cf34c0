"""What a statement came to: `SQLResult`, and `Answer`, which gives it when it is awaited.

An Answer is a coroutine by all that asyncio asks of one, so it may be awaited or given to
`create_task()` and `gather()`. It can also be asked directly, which saves the pair of parentheses:
``await session.execute(sql).one()`` is ``(await session.execute(sql)).one()``.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from looplite.adapters.aiosqlite._text import facts
from looplite.exceptions import (
    SQLITE_ERRORS,
    MissingDependencyError,
    MultipleResultsFoundError,
    NotFoundError,
    ProgrammingError,
    translated,
)

if TYPE_CHECKING:
    from looplite._core import Fetched

T = TypeVar("T")
Row = dict[str, Any]


def mapped(rows: Sequence[Row], schema_type: type[T], serializer: Any = None) -> list[T]:
    """The rows as `schema_type`; `serializer`: the json_serializer they were stored with, if "
    "any."""
    from looplite import _mapping  # what few programs use need not be imported by all

    if serializer is None:
        return _mapping.to_schema(rows, schema_type)
    return _mapping.to_schema(rows, schema_type, serializer=serializer)


def optional(name: str, what: str) -> Any:
    """A package that only `what` needs."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependencyError(f"{what} needs {name}, which is not installed") from error


def with_errors(call: Callable[..., T], *args: Any) -> T:
    """What the call gives; errors of sqlite3 become ours."""
    try:
        return call(*args)
    except SQLITE_ERRORS as error:
        raise translated(error) from error.__cause__


def arrow_table(source: Any) -> Any:
    """A `pyarrow.Table` of whatever speaks the Arrow PyCapsule interface."""
    pyarrow = optional("pyarrow", "to_arrow()")
    return pyarrow.RecordBatchReader.from_stream(source).read_all()


class SQLResult:
    """The rows of a statement, or how many it changed.

    The rows are made when they are asked for, all at once, in a plain call that cannot give way to
    other tasks; each is a dict. `statement` is the text, `rows_affected` the number of rows that an
    INSERT, UPDATE, DELETE or REPLACE changed, for others the number of rows.
    """

    __slots__ = ("_data", "_fetched", "_serializer", "rows_affected", "statement")

    def __init__(
        self, statement: str, fetched: Fetched | None, changes: int = 0, serializer: Any = None
    ) -> None:
        self._serializer = serializer
        self.statement = statement
        self._fetched = fetched
        self._data: list[Row] | None = None if fetched is not None else []
        if fetched is None:
            self.rows_affected = changes
        else:
            self.rows_affected = fetched.changes if fetched.is_dml else len(fetched)

    @property
    def operation_type(self) -> str:
        """The first word of the statement; of a script "SCRIPT" or that of its first one."""
        return facts(self.statement).word

    @property
    def column_names(self) -> list[str]:
        """The names of the columns; empty for a statement that gives no rows."""
        return [] if self._fetched is None else list(self._fetched.column_names)

    @property
    def last_inserted_id(self) -> int | None:
        """The rowid of the row that an INSERT made last, or None for other statements."""
        fetched = self._fetched
        if fetched is None or not fetched.is_dml or self.rows_affected == 0:
            return None
        return fetched.rowid if self.operation_type in ("INSERT", "REPLACE", "WITH") else None

    def __repr__(self) -> str:
        return (
            f"<SQLResult of {self.operation_type or 'nothing'}: {len(self)} rows, "
            f"{self.rows_affected} affected>"
        )

    # ---- the rows -------------------------------------------------------------------------------

    @property
    def data(self) -> list[Row]:
        """All rows."""
        made = self._data
        if made is None:
            assert self._fetched is not None
            made = self._data = self._fetched.all()
        return made

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return len(self)

    @property
    def num_columns(self) -> int:
        """How many columns a row has."""
        return len(self.column_names)

    def __len__(self) -> int:
        return 0 if self._fetched is None else len(self._fetched)

    def __bool__(self) -> bool:
        return True  # it is there, however many rows it has

    def __iter__(self) -> Iterator[Row]:
        return iter(self.data)

    def __getitem__(self, index: int) -> Row:
        return self.data[index]

    def _row(self, index: int) -> Row:
        if self._data is not None:
            return self._data[index]
        assert self._fetched is not None
        row: Row = self._fetched.row(index)
        return row

    @overload
    def all(self, *, schema_type: type[T]) -> list[T]: ...
    @overload
    def all(self, *, schema_type: None = None) -> list[Row]: ...
    def all(self, *, schema_type: type[T] | None = None) -> list[T] | list[Row]:
        """All rows, of `schema_type` if that is given."""
        return (
            self.data if schema_type is None else mapped(self.data, schema_type, self._serializer)
        )

    get_data = all  # noqa: A003 - SQLSpec's names

    @overload
    def one(self, *, schema_type: type[T]) -> T: ...
    @overload
    def one(self, *, schema_type: None = None) -> Row: ...
    def one(self, *, schema_type: type[T] | None = None) -> T | Row:
        """The only row; NotFoundError or MultipleResultsFoundError if it is not so."""
        if not len(self):
            raise NotFoundError(f"no row where one is needed: {self.statement}")
        return self._only(schema_type)

    @overload
    def one_or_none(self, *, schema_type: type[T]) -> T | None: ...
    @overload
    def one_or_none(self, *, schema_type: None = None) -> Row | None: ...
    def one_or_none(self, *, schema_type: type[T] | None = None) -> T | Row | None:
        """The only row, or None; MultipleResultsFoundError if there are more."""
        return self._only(schema_type) if len(self) else None

    def _only(self, schema_type: type[T] | None) -> T | Row:
        if len(self) > 1:
            raise MultipleResultsFoundError(
                f"{len(self)} rows where one is needed: {self.statement}"
            )
        row = self._row(0)
        return row if schema_type is None else mapped([row], schema_type, self._serializer)[0]

    @overload
    def first(self, *, schema_type: type[T]) -> T | None: ...
    @overload
    def first(self, *, schema_type: None = None) -> Row | None: ...
    def first(self, *, schema_type: type[T] | None = None) -> T | Row | None:
        """The first row, or None."""
        if not len(self):
            return None
        row = self._row(0)
        return row if schema_type is None else mapped([row], schema_type, self._serializer)[0]

    get_first = first

    def scalar(self) -> Any:
        """The first value of the only row; NotFoundError or MultipleResultsFoundError."""
        if len(self) != 1:
            self.one()  # raises
        assert self._fetched is not None
        return self._fetched.value()

    def scalar_or_none(self) -> Any:
        """The first value of the only row, or None if there is no row."""
        return self.scalar() if len(self) else None

    # ---- Arrow ----------------------------------------------------------------------------------

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        """The rows by the Arrow PyCapsule interface: values as they are stored."""
        if self._fetched is None:
            raise ProgrammingError("the statement gives no columns, so there is nothing for Arrow")
        return with_errors(self._fetched.__arrow_c_stream__, requested_schema)

    def to_arrow(self) -> Any:
        """The rows as a `pyarrow.Table`."""
        return arrow_table(self)

    def to_pandas(self) -> Any:
        """The rows as a `pandas.DataFrame`, by way of pyarrow."""
        optional("pandas", "to_pandas()")
        return arrow_table(self).to_pandas()

    def to_polars(self) -> Any:
        """The rows as a `polars.DataFrame`; pyarrow is not needed."""
        return optional("polars", "to_polars()").DataFrame(self)

    # ---- what it did ----------------------------------------------------------------------------

    def is_success(self) -> bool:
        """True: a statement that fails raises."""
        return True

    def is_empty(self) -> bool:
        """Whether there is no row."""
        return not len(self)

    def get_count(self) -> int:
        """How many rows there are."""
        return len(self)

    def get_affected_count(self) -> int:
        """`rows_affected`."""
        return self.rows_affected

    def was_inserted(self) -> bool:
        """Whether it is an INSERT or REPLACE that inserted a row."""
        return self.operation_type in ("INSERT", "REPLACE") and self.rows_affected > 0

    def was_updated(self) -> bool:
        """Whether it is an UPDATE that changed a row."""
        return self.operation_type == "UPDATE" and self.rows_affected > 0

    def was_deleted(self) -> bool:
        """Whether it is a DELETE that deleted a row."""
        return self.operation_type == "DELETE" and self.rows_affected > 0


R = TypeVar("R")


class Answer(Coroutine[Any, Any, R], Generic[R]):
    """Gives its result when it is awaited; nothing happens before that."""

    __slots__ = ("__weakref__", "_args", "_begin", "_running")

    def __init__(self, begin: Callable[..., Coroutine[Any, Any, R]], *args: Any) -> None:
        self._begin = begin
        self._args = args
        self._running: Coroutine[Any, Any, R] | None = None

    def _run(self) -> Coroutine[Any, Any, R]:
        if self._running is not None:
            raise RuntimeError("cannot reuse already awaited coroutine")
        self._running = running = self._begin(*self._args)
        return running

    def __await__(self) -> Generator[Any, Any, R]:
        return self._run().__await__()

    def send(self, value: Any) -> Any:
        return (self._running or self._run()).send(value)

    def throw(self, *args: Any) -> Any:
        return (self._running or self._run()).throw(*args)

    def close(self) -> None:
        (self._running or self._run()).close()

    def __del__(self) -> None:
        if self._running is None:
            name = getattr(self._begin, "__qualname__", "execute")
            warnings.warn(
                f"coroutine {name!r} was never awaited", RuntimeWarning, stacklevel=2, source=self
            )


class Execution(Answer[SQLResult]):
    """The answer of `execute()`: awaited, or asked directly."""

    __slots__ = ()

    async def all(self, *, schema_type: Any = None) -> Any:
        """All rows."""
        return (await self).all(schema_type=schema_type)

    async def one(self, *, schema_type: Any = None) -> Any:
        """The only row."""
        return (await self).one(schema_type=schema_type)

    async def one_or_none(self, *, schema_type: Any = None) -> Any:
        """The only row, or None."""
        return (await self).one_or_none(schema_type=schema_type)

    async def first(self, *, schema_type: Any = None) -> Any:
        """The first row, or None."""
        return (await self).first(schema_type=schema_type)

    async def scalar(self) -> Any:
        """The first value of the only row."""
        return (await self).scalar()

    async def scalar_or_none(self) -> Any:
        """The first value of the only row, or None."""
        return (await self).scalar_or_none()

    async def to_arrow(self) -> Any:
        """The rows as a `pyarrow.Table`."""
        return (await self).to_arrow()

    async def to_pandas(self) -> Any:
        """The rows as a `pandas.DataFrame`."""
        return (await self).to_pandas()

    async def to_polars(self) -> Any:
        """The rows as a `polars.DataFrame`."""
        return (await self).to_polars()
