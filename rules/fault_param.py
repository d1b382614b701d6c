"""One entry under ``faults:``, whatever its kind: the engine's only way from a kind's name to its class."""

from rules.fault import Fault
from rules.faults import FAULTS, LATER
from rules.model import PlannedFault, Sample
from rules.params import ALONE, BadValue, Context, Param, Schema, Trouble, nearest, shorten
from rules.sample_params import SAMPLE


class FaultParam(Param[PlannedFault]):
    """A mapping with one key, the kind; or the kind alone, as a string, where it needs no more."""

    human = f"a fault: {', '.join(FAULTS)}"

    def parse(self, value: object, context: Context = ALONE) -> PlannedFault:
        """Read an entry."""
        if isinstance(value, str):
            kind, written = value, None
        elif type(value) is dict and len(value) == 1:
            ((kind, written),) = value.items()
        elif type(value) is dict and value:
            raise BadValue(f"expected one kind of fault in one entry, got {', '.join(map(shorten, value))}")
        else:
            raise self.wrong(value)
        found = FAULTS.get(kind)
        if found is None:
            raise BadValue([Trouble((kind,) if type(value) is dict else (), _no_fault(kind), True)])
        try:
            return _read_fault(found, written, context)
        except BadValue as bad:
            if type(value) is not dict:
                raise
            raise BadValue([trouble.under(kind) for trouble in bad.troubles]) from None

    def schema(self) -> Schema:
        """Describe all kinds."""
        kinds: list[Schema] = []
        alone: list[str] = []
        for kind, fault in FAULTS.items():
            kinds.append(
                {
                    "type": "object",
                    "properties": {kind: _with_sample(fault.PARAMS.schema())},
                    "required": [kind],
                    "additionalProperties": False,
                }
            )
            try:
                fault.build(fault.PARAMS.read(None))
                alone.append(kind)
            except BadValue:
                continue
        return {"anyOf": [{"enum": alone}, *kinds]}


def _no_fault(kind: str) -> str:
    if kind in LATER:
        return f'the fault "{kind}" is not supported by this version'
    near = nearest(kind, list(FAULTS))
    hint = f'did you mean "{near}"?' if near else f"there are {', '.join(FAULTS)}"
    return f'unknown fault "{shorten(kind)}"; {hint}'


def _read_fault(found: type[Fault], written: object, context: Context) -> PlannedFault:
    """Read the values of a fault, and the sample of its own if it has one."""
    sample: Sample | None = None
    troubles: list[Trouble] = []
    if type(written) is dict and "sample" in written:
        try:
            sample = SAMPLE.parse(written["sample"])
        except BadValue as bad:
            troubles += [trouble.under("sample") for trouble in bad.troubles]
        written = {key: item for key, item in written.items() if key != "sample"}
    try:
        fault = found.build(found.PARAMS.parse(written, context))
    except BadValue as bad:
        raise BadValue(troubles + bad.troubles) from None
    if troubles:
        raise BadValue(troubles)
    return PlannedFault(fault, sample)


def _with_sample(schema: Schema) -> Schema:
    """Let the mapping form of a fault have a sample of its own."""
    forms = [dict(form) for form in schema.get("anyOf", [schema])]
    for form in forms:
        if "properties" in form:
            form["properties"] = {**form["properties"], "sample": SAMPLE.schema()}
    return {"anyOf": forms}
