"""Exchanges that are asked over the network, without a key: `alpaca.AlpacaSource` and `coinbase.CoinbaseSource`."""
