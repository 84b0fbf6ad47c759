"""What the votes example is made of, for examples/run."""

DATABASES = {"votes": "postgresql"}
INIT = ["votes"]  # nobody's library makes sluice's tables here
SERVICES = [("votes", "examples/votes/votes.py",
             ["--database={database[votes]}", "--extension={build}/sluice_sqlite"])]
ROUTES = """
- path: /votes/{{choice}}/stream
  stream:
    topic: vote.counted.v1
    key: "{{choice}}"
    snapshot: {address[votes]}/votes/{{choice}}
    event: /type
    version: /version
- path: /votes/**
  upstream: {address[votes]}
- path: /pages/votes
  upstream: {address[votes]}
"""
HOME = "votes"
PAGE = "vote, and see the counts move in every tab"
COMMANDS = """
curl -d '{{"choice": "tea"}}' {gateway}/votes
curl -N {gateway}/votes/tea/stream
"""
