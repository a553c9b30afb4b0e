"""`build-features`, `train`, `train-new` and `evaluate`, on request from the dashboard; parameters are codes only.

A training that raises is told by its row in the catalog, hence no hook for that.
"""

from __future__ import annotations

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from neuroloom.flows.artifacts import Bar, ports_table, run_page
from neuroloom.flows.fanning import for_each
from neuroloom.flows.leases import living
from neuroloom.flows.telling import tell_failure
from neuroloom.pipeline.reviewing import review_index, review_run, run_shown
from neuroloom.pipeline.runs import preparing, running
from neuroloom.pipeline.runs.run_form import NewRun
from neuroloom.pipeline.scores import judging
from neuroloom.pipeline.settings import Settings
from neuroloom.pipeline.store import Store


@flow(
    name="build-features",
    flow_run_name="features",
    on_failure=[tell_failure],
    on_crashed=[tell_failure],
)
@living
def build_features(session_ids: list[str] | None = None, bin_s: float = 0.02) -> None:
    """Make the model-rate features of sessions (all where none is named) in `derived/`, where they are not yet."""
    store = Store.here()
    calls = [{"session_id": name, "bin_s": bin_s} for name in session_ids or store.session_ids()]
    for_each(features_of, calls, Settings.of(store).fan_out)


@task(task_run_name="{session_id}", cache_policy=NO_CACHE, persist_result=False)
def features_of(session_id: str, bin_s: float) -> int:
    """Gives the number of bins."""
    from neuroloom.ingest.session import Session
    from neuroloom.pipeline.runs.feature_cache import build_features

    store = Store.here()
    with Session.open(store.latest(session_id)) as session:
        features = build_features(session, bin_s=bin_s, folder=store.derived)
    ports_table(features)
    return features.n_bins


@flow(name="train", flow_run_name="train {run}", on_crashed=[tell_failure])
@living
def train(run: str) -> None:
    """Make the features of a prepared run's sessions side by side; train it, or go on where it stopped; score it."""
    store = Store.here()
    calls = [{"run": run, "session_id": name} for name in preparing.requested(store, run).sessions]
    # What goes wrong there goes wrong in the training too, which notes it.
    for_each(features_for_run, calls, Settings.of(store).fan_out, raises=False)
    train_prepared(run)
    score(run)


@flow(name="train-new", flow_run_name="train {new.name}", on_crashed=[tell_failure])
@living
def train_new(new: NewRun) -> None:
    """Prepare a run of what the form says, train and score it; one of that name with other settings is refused."""
    store = Store.here()
    preparing.prepare_run(new.config(store), store)
    train(new.name)


@flow(name="evaluate", flow_run_name="evaluate {run}", on_failure=[tell_failure], on_crashed=[tell_failure])
@living
def evaluate(run: str) -> None:
    """Score a trained run beside its baselines."""
    score(run)


@task(task_run_name="features of {session_id}", cache_policy=NO_CACHE, persist_result=False)
def features_for_run(run: str, session_id: str) -> int:
    """Features of a session as a run wants them, for the cache; gives the number of bins."""
    return running.features_for(run, session_id, Store.here()).n_bins


@task(task_run_name="train {run}", cache_policy=NO_CACHE, persist_result=False)
def train_prepared(run: str) -> None:
    """The training itself, with a progress bar that moves every two seconds."""
    store = Store.here()
    n_steps = preparing.requested(store, run).steps
    bar = Bar(f"training {run}")
    with run_shown(store, run):
        trained = running.train_run(run, store, progress=lambda step, _loss: bar.move(step / n_steps))
    bar.finish()
    get_run_logger().info("best step %d, validation loss %.4f", trained.best_step, trained.best_loss)
    for line in judging.worse_of(run, store).lines():
        get_run_logger().warning("%s", line)


@task(task_run_name="score {run}", cache_policy=NO_CACHE, persist_result=False)
def score(run: str) -> None:
    """Scores and loss as artifacts, and the run's review page."""
    store = Store.here()
    scores = judging.evaluate_run(run, store)
    review_run(store, run)
    review_index(store)
    warnings = [*judging.worse_of(run, store).lines(), *scores.worse_than_mean().lines()]
    run_page(run, running.metrics_of(run, store), scores.to_json()["scores"], list(dict.fromkeys(warnings)))
