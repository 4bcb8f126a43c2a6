"""`chimera models`: what the registry holds, and how it gets there; one module for each of them."""

import typer

from chimera.cli.models import bench as models_bench
from chimera.cli.models import commands as model_commands
from chimera.cli.models import compile as models_compile
from chimera.cli.models import gc as models_gc
from chimera.cli.models import policy as models_policy
from chimera.cli.models import register as models_register
from chimera.cli.models import replay as models_replay
from chimera.cli.models import shown as models_shown

app = typer.Typer(no_args_is_help=True, help="Models: register, compile, compare, look them up.")

app.command()(models_register.register)
app.command("compile")(models_compile.compile_version)
app.command()(models_bench.bench)
app.command()(models_replay.replay)
app.command()(models_policy.policy)
app.command("list")(models_shown.list_models)
app.command()(models_shown.show)
app.command()(models_shown.history)
app.command()(models_shown.what_served)
app.command()(models_gc.gc)
model_commands.register(app)
