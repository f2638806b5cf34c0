"""schema_type=: rows as dataclasses, TypedDicts, msgspec Structs, attrs classes, pydantic models.

A mapper is made once per schema type and names of columns: which field a column fills, whether one
is missing or too many, and how its value becomes what the annotation says. Each row then costs one
call of the class, or for a Struct or a pydantic model one call of its library.

Where an annotation names one class (or that or None), the value is made to fit, or the error says
which field, which value, which type:

- ``str`` takes back as text what the type adapters had recognised in it (a UUID, a time, JSON);
- ``UUID``, ``datetime``, ``date``, ``time``, ``Decimal``, ``bool``, an ``Enum``: from how they are
  stored;
- ``float`` from an integer; ``dict``, ``list`` and nested schema types from JSON text too.

Other annotations (unions, ``Any``, type variables) take the value as it is. No library is imported
that the schema type does not come from.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import sys
import types
import typing
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from looplite.utils.serializers import from_json, to_json

__all__ = ("MappingError", "convert_value", "map_row", "mapper", "to_schema")

_T = TypeVar("_T")
_Convert = Callable[[Any], Any]
_Serializer = Callable[[Any], "str | bytes"]

KEPT = 256  # mappers; programs have a few dozen


class MappingError(ValueError):
    """A row does not fit its schema type: names the field, the value, the type."""


class _UnfitError(Exception):
    """A value that cannot become what the annotation says; who catches it knows the field."""


def _name(annotation: Any) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)


# ---- one value -----------------------------------------------------------------------------------


def _str_by(serializer: _Serializer) -> _Convert:
    """The text that something was recognised in, which is what the type adapters would store."""

    def to_str(value: Any) -> Any:
        if isinstance(value, (uuid.UUID, decimal.Decimal)):
            return str(value)
        if isinstance(value, (datetime.date, datetime.time)):
            return value.isoformat()
        if isinstance(value, (dict, list)):
            text = serializer(value)
            return text.decode() if isinstance(text, bytes) else text
        raise _UnfitError

    return to_str


def _to_bool(value: Any) -> Any:
    if isinstance(value, int) and value in (0, 1):
        return value == 1
    raise _UnfitError


def _to_float(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    raise _UnfitError


def _to_uuid(value: Any) -> Any:
    if isinstance(value, str):
        return uuid.UUID(value)
    if isinstance(value, bytes):
        return uuid.UUID(bytes=value)
    raise _UnfitError


def _to_decimal(value: Any) -> Any:
    if isinstance(value, bool):
        raise _UnfitError
    if isinstance(value, (int, str)):
        return decimal.Decimal(value)
    if isinstance(value, float):
        return decimal.Decimal(format(value, ".15g"))  # as the type adapters do
    raise _UnfitError


def _iso(value: str) -> str:
    """What fromisoformat() reads before Python 3.11 too, as long as it is no shortened form."""
    return value[:-1] + "+00:00" if value.endswith(("Z", "z")) else value


def _to_datetime(value: Any) -> Any:
    if isinstance(value, str):
        return datetime.datetime.fromisoformat(_iso(value))
    raise _UnfitError


def _to_date(value: Any) -> Any:
    if isinstance(value, str):
        return datetime.date.fromisoformat(value)
    raise _UnfitError


def _to_time(value: Any) -> Any:
    if isinstance(value, str):
        return datetime.time.fromisoformat(_iso(value))
    raise _UnfitError


def _never(value: Any) -> Any:
    raise _UnfitError


def _if_fit(change: _Convert) -> _Convert:
    """For a library that says itself what it does not take: such values stay as they are."""

    def convert(value: Any) -> Any:
        try:
            return change(value)
        except _UnfitError:
            return value

    return convert


#: How a value of another class becomes one of this.
_LEAVES: dict[Any, _Convert] = {
    bool: _to_bool,
    int: _never,
    float: _to_float,
    bytes: _never,
    uuid.UUID: _to_uuid,
    decimal.Decimal: _to_decimal,
    datetime.datetime: _to_datetime,
    datetime.date: _to_date,
    datetime.time: _to_time,
}


def _or_none(annotation: Any) -> tuple[Any, bool]:
    """The annotation without Annotated and Optional, and whether None is allowed."""
    none = False
    while True:
        origin = typing.get_origin(annotation)
        if str(origin).endswith((".Annotated", ".Required", ".NotRequired", ".ReadOnly")):
            annotation = typing.get_args(annotation)[0]
            continue
        if origin is typing.Union or origin is types.UnionType:
            rest = [arg for arg in typing.get_args(annotation) if arg is not types.NoneType]
            if len(rest) == 1 and len(typing.get_args(annotation)) == 2:
                annotation, none = rest[0], True
                continue
        return annotation, none


def _leaf(cls: Any, change: _Convert) -> _Convert:
    # bool is an int and datetime a date, but not where an int or a date is asked for by name
    not_these: Any = {int: bool, datetime.date: datetime.datetime}.get(cls, ())

    def convert(value: Any) -> Any:
        if isinstance(value, cls) and not isinstance(value, not_these):
            return value
        return change(value)

    return convert


def _enumeration(cls: Any) -> _Convert:
    return lambda value: value if isinstance(value, cls) else cls(value)


def _json(cls: Any) -> _Convert:
    def convert(value: Any) -> Any:
        if isinstance(value, (str, bytes)):
            value = from_json(value)
        if isinstance(value, cls):
            return value
        raise _UnfitError

    return convert


def _nested(cls: Any, serializer: _Serializer) -> _Convert:
    def convert(value: Any) -> Any:
        if isinstance(value, (str, bytes)):
            value = from_json(value)
        if not isinstance(value, dict):
            if isinstance(cls, type) and not _is_typed_dict(cls) and isinstance(value, cls):
                return value
            raise _UnfitError
        return map_row(value, cls, serializer=serializer)

    return convert


def _converter(
    annotation: Any, native: bool = False, serializer: _Serializer = to_json
) -> _Convert | None:
    """How a value becomes what an annotation says; None: as it is. With ``native`` the rest is left
    to a library that converts by itself: only what it would refuse is done.
    """
    annotation, none = _or_none(annotation)
    origin = typing.get_origin(annotation)
    change: _Convert | None = None
    if annotation in (dict, list) or origin in (dict, list):
        change = _json(origin or annotation) if not native else _parsed
    elif kind_of(annotation) is not None:
        change = _nested(annotation, serializer) if not native else _parsed
    elif annotation is str:
        to_str = _str_by(serializer)
        change = _if_fit(to_str) if native else _leaf(str, to_str)
    elif isinstance(annotation, type) and annotation in _LEAVES:
        if not native:
            change = _leaf(annotation, _LEAVES[annotation])
        elif annotation is bool:
            change = _if_fit(_LEAVES[annotation])
    elif isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        change = None if native else _enumeration(annotation)
    if change is None or not none:
        return change
    some = change
    return lambda value: None if value is None else some(value)


def _parsed(value: Any) -> Any:
    """JSON text for a field that a library fills from dicts and lists."""
    return from_json(value) if isinstance(value, (str, bytes)) else value


def _checked(schema: str, field: str, annotation: Any, convert: _Convert) -> _Convert:
    """The same with errors that name everything."""

    def checked(value: Any) -> Any:
        try:
            return convert(value)
        except MappingError as error:
            raise MappingError(f"{schema}.{field}: {error}") from error
        except (_UnfitError, ValueError, TypeError, ArithmeticError) as error:
            raise MappingError(
                f"{schema}.{field}: {value!r:.100} ({type(value).__qualname__}) is not "
                f"{_name(annotation)}"
            ) from (None if isinstance(error, _UnfitError) else error)

    return checked


def convert_value(value: Any, annotation: type[_T]) -> _T:
    """One value as what an annotation says, for results of a single column."""
    convert = _converter(annotation)
    if convert is None:
        return typing.cast("_T", value)
    try:
        return typing.cast("_T", convert(value))
    except MappingError:
        raise
    except (_UnfitError, ValueError, TypeError, ArithmeticError) as error:
        raise MappingError(
            f"{value!r:.100} ({type(value).__qualname__}) is not {_name(annotation)}"
        ) from (None if isinstance(error, _UnfitError) else error)


# ---- what there are of schema types --------------------------------------------------------------


@dataclasses.dataclass
class _Field:
    column: str  # what the column may be called
    keyword: str  # what the class wants to have it called
    annotation: Any
    required: bool


def _is_typed_dict(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, dict) and hasattr(cls, "__total__")


def kind_of(schema: Any) -> str | None:
    """Which kind of schema type it is; None: none."""
    if not isinstance(schema, type):
        return None
    if hasattr(schema, "__struct_fields__"):
        return "msgspec"
    if hasattr(schema, "__pydantic_validator__"):
        return "pydantic"  # a model, or a dataclass of pydantic's
    if hasattr(schema, "__attrs_attrs__"):
        return "attrs"
    if dataclasses.is_dataclass(schema):
        return "dataclass"
    return "TypedDict" if _is_typed_dict(schema) else None


def _hints(schema: Any) -> dict[str, Any]:
    """Annotations as objects; of those that name what cannot be found, none."""
    try:
        return typing.get_type_hints(schema, include_extras=True)
    except Exception:  # whatever an annotation raises that is only evaluated for us
        return {}


def _fields(schema: Any, kind: str) -> list[_Field]:
    hints = _hints(schema)
    if kind == "dataclass":
        missing = dataclasses.MISSING
        return [
            _Field(
                f.name,
                f.name,
                hints.get(f.name),
                f.default is missing and f.default_factory is missing,
            )
            for f in dataclasses.fields(schema)
            if f.init
        ]
    if kind == "attrs":
        attrs = sys.modules["attr"]
        return [
            _Field(
                f.name,
                getattr(f, "alias", None) or f.name.lstrip("_"),
                hints.get(f.name, f.type),
                f.default is attrs.NOTHING,
            )
            for f in schema.__attrs_attrs__
            if f.init
        ]
    if kind == "msgspec":
        structs = sys.modules["msgspec"].structs
        return [_Field(f.name, f.encode_name, f.type, f.required) for f in structs.fields(schema)]
    if kind == "pydantic":
        fields: Mapping[str, Any] = getattr(schema, "model_fields", None) or getattr(
            schema, "__pydantic_fields__", {}
        )
        return [_Field(name, name, field.annotation, False) for name, field in fields.items()]
    required: frozenset[str] = schema.__required_keys__  # blind for annotations that are strings
    return [
        _Field(name, name, hint, _is_required(hint, name in required))
        for name, hint in hints.items()
    ]


def _is_required(annotation: Any, otherwise: bool) -> bool:
    origin = str(typing.get_origin(annotation))
    if origin.endswith((".Required", ".NotRequired")):
        return origin.endswith(".Required")
    return otherwise


# ---- mappers -------------------------------------------------------------------------------------


def _no_schema(schema: Any) -> TypeError:
    return TypeError(
        "schema_type must be a dataclass, a TypedDict, a msgspec Struct, an attrs class or a "
        f"pydantic model, not {_name(schema)}"
    )


def _check_columns(schema: Any, kind: str, fields: list[_Field], columns: Sequence[str]) -> None:
    known = {name for f in fields for name in (f.column, f.keyword)}
    missing = [f.column for f in fields if f.required and not {f.column, f.keyword} & set(columns)]
    if missing:
        raise MappingError(
            f"{_name(schema)} needs {', '.join(map(repr, missing))}, which the result does not "
            f"have; its columns are {', '.join(map(repr, columns))}"
        )
    if kind in ("dataclass", "attrs"):
        unknown = [column for column in columns if column not in known]
        if unknown:
            raise MappingError(
                f"{_name(schema)} has no field for {', '.join(map(repr, unknown))}; "
                f"its fields are {', '.join(repr(f.column) for f in fields)}"
            )


def _by_msgspec(schema: Any) -> Callable[[dict[str, Any]], Any]:
    msgspec = sys.modules["msgspec"]
    convert: Callable[..., Any] = msgspec.convert
    error: type[Exception] = msgspec.ValidationError

    def make(row: dict[str, Any]) -> Any:
        try:
            return convert(row, schema, dec_hook=_decode_rest)
        except error as exc:
            message, _, path = str(exc).partition(" - at `$.")
            field = path.rstrip("`").partition(".")[0].partition("[")[0]
            if field in row:
                value = row[field]
                message = f"{value!r:.100} ({type(value).__qualname__}): {message}"
            where = f"{_name(schema)}.{field}" if field else _name(schema)
            raise MappingError(f"{where}: {message}") from exc

    return make


def _decode_rest(cls: Any, value: Any) -> Any:
    """What msgspec does not know: from an object of the class, or by calling it."""
    return value if isinstance(value, cls) else cls(value)


def _by_pydantic(schema: Any) -> Callable[[dict[str, Any]], Any]:
    error: type[Exception] = sys.modules["pydantic"].ValidationError
    if hasattr(schema, "model_validate"):
        validate: Callable[[Any], Any] = schema.model_validate
    else:
        validate = sys.modules["pydantic"].TypeAdapter(schema).validate_python

    def make(row: dict[str, Any]) -> Any:
        try:
            return validate(row)
        except error as exc:
            first: dict[str, Any] = exc.errors(include_url=False)[0]  # type: ignore[attr-defined]
            where = ".".join(map(str, first["loc"]))
            value = first["input"]
            raise MappingError(
                f"{_name(schema)}{'.' if where else ''}{where}: {value!r:.100} "
                f"({type(value).__qualname__}): {first['msg']}"
            ) from exc

    return make


def _plan(
    schema: Any, columns: tuple[str, ...], serializer: _Serializer
) -> Callable[[Iterable[Any]], Any]:
    """Makes an object of the values of a row, in the order of the columns."""
    kind = kind_of(schema)
    if kind is None:
        raise _no_schema(schema)
    fields = _fields(schema, kind)
    _check_columns(schema, kind, fields, columns)
    by_column = {f.keyword: f for f in fields} | {f.column: f for f in fields}
    native = kind in ("msgspec", "pydantic")
    keys: list[str] = []
    steps: list[tuple[str, _Convert]] = []
    for column in columns:
        field = by_column.get(column)
        keys.append(field.keyword if field else column)
        convert = _converter(field.annotation, native, serializer) if field else None
        if field and convert:
            steps.append(
                (field.keyword, _checked(_name(schema), column, field.annotation, convert))
            )

    make: Callable[[dict[str, Any]], Any] | None = None
    if kind == "msgspec":
        make = _by_msgspec(schema)
    elif kind == "pydantic":
        make = _by_pydantic(schema)

    def build(values: Iterable[Any]) -> Any:
        row = dict(zip(keys, values, strict=True))
        for key, convert in steps:
            row[key] = convert(row[key])
        if make is not None:
            return make(row)
        return row if kind == "TypedDict" else schema(**row)

    return build


_plans: dict[tuple[Any, tuple[str, ...], _Serializer], Callable[[Iterable[Any]], Any]] = {}


def mapper(
    schema_type: type[_T], columns: Iterable[str], *, serializer: _Serializer = to_json
) -> Callable[[Iterable[Any]], _T]:
    """Makes an object of a row's values, which stand in the order of ``columns``.

    ``serializer`` is the json_serializer that the values were read with.
    """
    key = (schema_type, tuple(columns), serializer)
    try:
        return _plans[key]
    except (KeyError, TypeError):
        plan = _plan(*key)
    if len(_plans) >= KEPT:
        _plans.clear()
    _plans[key] = plan
    return plan


def map_row(
    row: Any,
    schema_type: type[_T],
    columns: Iterable[str] | None = None,
    *,
    serializer: _Serializer = to_json,
) -> _T:
    """One row: a dict, or a sequence of values with the names of its columns."""
    if columns is None:
        return mapper(schema_type, row, serializer=serializer)(row.values())
    return mapper(schema_type, columns, serializer=serializer)(row)


def to_schema(
    rows: Iterable[Any],
    schema_type: type[_T],
    columns: Iterable[str] | None = None,
    *,
    serializer: _Serializer = to_json,
) -> list[_T]:
    """Rows of one result: dicts, or sequences of values with the names of their columns."""
    if columns is None:
        rows = list(rows)
        if not rows:
            if kind_of(schema_type) is None:
                raise _no_schema(schema_type)
            return []
        make = mapper(schema_type, rows[0], serializer=serializer)
        return [make(row.values()) for row in rows]
    make = mapper(schema_type, columns, serializer=serializer)
    return [make(row) for row in rows]
