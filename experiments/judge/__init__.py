"""What runs before a launch: audit, training, backtest, evaluation, ablation, planning and promotion."""
