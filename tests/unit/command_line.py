"""Commands of `arseg` as a user types them, and what they answer."""

from arseg.cli.main import main


def run(*words):
    main([str(word) for word in words])


def exit_status(*words):
    try:
        run(*words)
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def refusal(capsys, *words):
    """Run a command that must fail with exit code 2 and one message; return the message."""
    capsys.readouterr()
    assert exit_status(*words) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert error.count("error:") == 1
    return error


def commands(group, *words):
    """Return the functions of all commands below a group, by their words."""
    found = {words: group.default_command} if group.default_command else {}
    for name in (name for name in group if not name.startswith("-")):
        found |= commands(group[name], *words, name)
    return found


def phase1_words(manifest, output, **options):
    """Return the words of a training of `tiny` from random weights, with any other options of the command."""
    options = {
        **{"manifest": manifest, "train_split": "train", "val_split": "val", "backbone": "tiny", "device": "cpu"},
        **{"crop": "64x48", "batch_size": 4, "initial_weights": "none", "workers": 0, "output": output, **options},
    }
    return ["train", "phase1", *(f"--{name.replace('_', '-')}={value}" for name, value in options.items())]
