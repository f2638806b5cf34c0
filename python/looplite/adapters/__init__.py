"""The layers that other packages' users come from: `looplite.adapters.aiosqlite` for SQLSpec's."""
