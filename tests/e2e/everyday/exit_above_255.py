raise SystemExit(263)
