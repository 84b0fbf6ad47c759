"""All examples behind one gateway, with one page that shows each of them, for examples/run."""
import importlib.util
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAMES = [name for name in ("orders", "payments", "users", "studyposts", "votes")
         if (HERE.parent / name / "example.py").is_file()]


def load(name):
    spec = importlib.util.spec_from_file_location(name, HERE.parent / name / "example.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PARTS = [load(name) for name in NAMES]


def joined(name):
    return [item for part in PARTS for item in getattr(part, name, [])]


def prepare(data, known):
    for part in PARTS:
        if hasattr(part, "prepare"):
            part.prepare(data, known)


DATABASES = {name: kind for part in PARTS for name, kind in part.DATABASES.items()}
NEEDS = joined("NEEDS")
INIT = joined("INIT")
OPTIONS = [option for part in PARTS for option in getattr(part, "OPTIONS", [])
           if option[0] not in getattr(part, "CHOICES", ())]
SERVICES = [*joined("SERVICES"), ("home", "examples/all/home.py", [])]
SETTINGS = "".join(getattr(part, "SETTINGS", "") for part in PARTS)
GATEWAY = "".join(getattr(part, "GATEWAY", "") for part in PARTS)
ROUTES = "".join(part.ROUTES for part in PARTS)
HOME = "home"
PAGE = "all of them on one page"
COMMANDS = "".join(part.COMMANDS for part in PARTS)
