"""Where orders go: `simulated`, Alpaca paper and Coinbase Advanced behind one protocol, `broker.Broker`."""
