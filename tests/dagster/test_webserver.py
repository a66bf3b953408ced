"""The web interface, in this process: the code location loads and GraphQL tells the lineage."""

import asyncio
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.app import create_app_from_workspace_process_context

LINEAGE = """
{
  assetNodes {
    assetKey { path }
    groupName
    description
    dependencyKeys { path }
    metadataEntries { label ... on TableSchemaMetadataEntry { schema { columns { name description } } } }
  }
}
"""
LOCATIONS = """
{
  workspaceOrError {
    ... on Workspace { locationEntries { loadStatus name locationOrLoadError { __typename } } }
  }
}
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    home = str(tmp_path_factory.mktemp("webserver"))
    with (
        pytest.MonkeyPatch.context() as patched,
        DagsterInstance.local_temp(home, overrides={"telemetry": {"enabled": False}}) as instance,
    ):
        patched.chdir(Path(__file__).parents[2])
        with WorkspaceProcessContext(instance, WorkspaceFileTarget(["workspace.yaml"]), version="test") as workspace:
            yield create_app_from_workspace_process_context(workspace)


def ask(app, query):
    async def post():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://dagster") as client:
            return await client.post("/graphql", json={"query": query})

    answer = asyncio.run(post())
    assert answer.status_code == 200
    assert "errors" not in answer.json(), answer.json()
    return answer.json()["data"]


def test_the_code_location_loads(app):
    (entry,) = ask(app, LOCATIONS)["workspaceOrError"]["locationEntries"]
    assert (entry["name"], entry["loadStatus"]) == ("cappuccino", "LOADED")
    assert entry["locationOrLoadError"]["__typename"] == "RepositoryLocation"


def test_the_lineage_leads_from_bars_to_the_report(app):
    nodes = {".".join(node["assetKey"]["path"]): node for node in ask(app, LINEAGE)["assetNodes"]}
    before = {name: {".".join(key["path"]) for key in node["dependencyKeys"]} for name, node in nodes.items()}
    line = [
        "market.bars",
        "market.bars_all",
        "features.features",
        "lab.timeframe_choices",
        "lab.trials",
        "arena.matches",
    ]
    for earlier, later in pairwise(line):
        assert earlier in before[later]
    assert "desk.equity" in before["promotion.decisions"]
    assert "promotion.decisions" in before["ops.report"]
    bars = nodes["market.bars"]
    assert bars["groupName"] == "market"
    columns = next(entry for entry in bars["metadataEntries"] if entry["label"] == "dagster/column_schema")["schema"][
        "columns"
    ]
    assert {column["name"] for column in columns} >= {"symbol", "opened_at_utc", "close"}
    assert all(column["description"] for column in columns)
