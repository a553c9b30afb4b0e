"""What a run expects of a session, written into its folder."""

from __future__ import annotations

from pathlib import Path

from neuroloom.ingest import durable
from neuroloom.pipeline import verdicts
from neuroloom.pipeline.runs.run_files import PREDICTED
from neuroloom.pipeline.runs.running import opened
from neuroloom.pipeline.scores.evaluation import mean_of
from neuroloom.pipeline.scores.judging import Look
from neuroloom.pipeline.store import Store, StoreError


def predict_run(name: str, session_id: str, store: Store, *, seeds: int = 1) -> Path:
    """What a run expects of a session, bin by bin: one HDF5 file in the run's folder, a dataset (T, C) per port.

    seeds: the mean of what so many trainings expect, the run's own and those of `evaluate_run` from other seeds.
    In the unit of the stream, counts per bin, or chances of the classes (T, K), as its attribute `unit` says; the file
    has `start_s` of the first bin, on the session's clock, `bin_s` and `seeds`. Raises StoreError for a session that
    the run was not trained on, where it was not trained from so many seeds, and where a consent has ended.
    """
    from neuroloom.ingest.hdf5_files import new_hdf5

    look = Look(name=name, store=store)
    run, runs = look.run, [look.run, *look.trained_again(seeds)]
    with opened(store, session_id) as session:
        known = run.network.session_names
        if session_id not in known:
            raise StoreError(
                f"{name}: was trained on {', '.join(known)}, not on {session_id}; a run with start_from = {name!r} and "
                'train_only = "session" under [training] fits it to another session'
            )
        said = verdicts.bad_channels_of(store, session_id), verdicts.good_channels_of(store, session_id)
        made = run.windows_of(verdicts.reviewed(session, *said)).sessions[session_id]
        units = {stream.name: getattr(stream, "unit", "") for stream in session.streams}
        predicted = mean_of([one.predict_whole(made) for one in runs])
    path = store.run_folder(name) / PREDICTED.format(session=session_id)
    with durable.new_file(path) as temporary, new_hdf5(temporary) as (file, _):
        file.attrs.update(run=name, session=session_id, seeds=seeds)
        file.attrs.update(bin_s=run.window_config.bin_s, start_s=made.features.start_s)
        for name_of, values in predicted.items():
            port, scaler = made.features[name_of].port, made.scalers[name_of]
            is_scaled = not (port.is_rates or port.is_classes)
            kept = values * scaler.std + scaler.mean if is_scaled else values
            unit = units.get(name_of, "") if is_scaled else "counts per bin" if port.is_rates else "chance"
            columns = made.features[name_of].class_names if port.is_classes else port.channel_names
            file.create_dataset(name_of.replace("/", "_"), data=kept).attrs.update(unit=unit, columns=list(columns))
    return path
