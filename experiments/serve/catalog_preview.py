"""Shows what the assemblies of a modular catalog look like, to whoever approves them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from engine.content.preview import Assembly, assemblies, assembly, changes
from engine.errors import ParameterError
from experiments.outputs import Output
from experiments.serve.guardrails import catalog_named


class CatalogPreviewOutput(Output, frozen=True, kw_only=True):
    """`tactful catalog preview --json`.

    Attributes:
        catalog: its name.
        version: of the catalog, as records keep it.
        assemblies: that the catalog has.
        sendable: assemblies whose blocks are all approved and may stand together.
        shown: those that were asked for.
        changes: what happened to each block since the catalog of `--before`, in sentences.
    """

    catalog: str
    version: str
    assemblies: int
    sendable: int
    shown: tuple[Assembly, ...]
    changes: tuple[str, ...] = ()


def preview_catalog(
    name: str, arms: Sequence[str] = (), having: Sequence[str] = (), most: int = 10, before: str | None = None
) -> CatalogPreviewOutput:
    """Assemblies of a modular catalog.

    Args:
        name: of a shipped catalog, or path of a yaml file.
        arms: ids of the assemblies to show; without any, the first ones that hold `having`.
        having: ids of blocks; only with no `arms`.
        most: largest number of assemblies to show where no `arms` are named, at least 1.
        before: an earlier catalog, by name or path, to compare the blocks with.

    Raises:
        ConfigError: a catalog that cannot be read.
        ParameterError: a catalog without blocks, an unknown block, or options that contradict each other.
        DataError: no such arm.
    """
    if most < 1:
        raise ParameterError("most", "catalog preview", allowed="at least 1", got=most)
    if arms and having:
        raise ParameterError("block", "catalog preview", allowed="given without --arm", got=tuple(having))
    catalog = catalog_named(name)
    shown = [assembly(catalog, arm) for arm in arms] or islice(assemblies(catalog, having), most)
    return CatalogPreviewOutput(
        catalog=catalog.name,
        version=catalog.version,
        assemblies=len(catalog.arms),
        sendable=sum(arm.approved for arm in catalog.arms),
        shown=tuple(shown),
        changes=() if before is None else tuple(changes(catalog_named(before), catalog)),
    )
