"""The search: models x folds x hyperparameters on Ray Tune, judged by whole configurations.

experiment    the experiment file, checked when read
sampler       where hyperparameters come from: grid, random, Optuna
grid          configurations and their trials
ledger        what an experiment has decided and done, in the store
search        run_search: the one place that talks to Tune
searcher      hands Tune the next fold of a living configuration
scheduler     stops a fold whose configuration was given up
trainable     one trial inside Tune; rank_actors its other ranks; stepping an epoch at a time
final_scores  the winner on the test parts, once
leaderboard   configurations ranked by their mean over folds
promotion     from the winner to a registered model version
events        what a search tells; progress to the terminal, tracking to MLflow
"""
