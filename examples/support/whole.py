"""What an example amounts to: each service's command, and sluice's config.

examples/run starts it with them; the tests that kill parts and start them again do, too.
"""
from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

from parts import ROOT, StartError, program
from stores import Files, Servers

CONFIG = """\
database: [{databases}]
broker: "{broker}"
{settings}gateway:
  listen: ["{gateway}"]
{gateway_settings}  routes:
{routes}console:
  listen: {console}
"""

HOME_ROUTE = """\
- path: /**
  upstream: {}
"""


def load(name: str) -> ModuleType:
    """The example.py of an example."""
    path = ROOT / "examples" / name / "example.py"
    spec = importlib.util.spec_from_file_location(f"example_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def indent(text: str, spaces: int) -> str:
    return "".join(" " * spaces + line if line.strip() else line
                   for line in text.strip("\n").splitlines(keepends=True)) + "\n"


class Whole:
    """An example whose stores run and whose databases and files are made."""

    def __init__(self, example: ModuleType, options: dict[str, Any], data: Path,
                 stores: Files | Servers) -> None:
        self.example = example
        self.data = data
        stores.start({*example.DATABASES.values(), "kafka", *getattr(example, "NEEDS", [])})
        self.databases = {name: stores.database(name, kind)
                          for name, kind in example.DATABASES.items()}
        self.known = {"data": data, "broker": stores.broker, "search": stores.search,
                      "options": options, "database": self.databases,
                      "build": Path(program("sluice")).parent}
        for name in getattr(example, "INIT", []):
            made = subprocess.run([program("sluice"), "init", "--database", self.databases[name]],
                                  stdout=subprocess.DEVNULL)
            if made.returncode != 0:
                raise StartError(f"the tables of {name} cannot be made; what sluice said is above")
        if hasattr(example, "prepare"):
            example.prepare(data, self.known)
        self.services = {name: (path, words) for name, path, words in example.SERVICES}

    def service_command(self, name: str, listen: str) -> list[str]:
        path, words = self.services[name]
        return [program(path) if not path.endswith(".py") else str(ROOT / path),
                f"--listen={listen}", *(word.format(**self.known) for word in words)]

    def write_config(self, address: dict[str, str], gateway: str, console: str) -> Path:
        """sluice's config, with the services at `address`."""
        config = self.data / "sluice.yaml"
        self.known["address"] = address
        setting = {name: getattr(self.example, name, "").format(**self.known)
                   for name in ("SETTINGS", "GATEWAY", "ROUTES")}
        routes = setting["ROUTES"] + HOME_ROUTE.format(address[self.example.HOME])
        config.write_text(CONFIG.format(
            databases=", ".join(f'"{url}"' for url in self.databases.values()),
            broker=self.known["broker"], gateway=gateway, console=console,
            settings=indent(setting["SETTINGS"], 0).lstrip("\n"),
            gateway_settings=indent(setting["GATEWAY"], 2).lstrip("\n"), routes=indent(routes, 4)))
        return config
