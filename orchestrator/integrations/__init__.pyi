from orchestrator.integrations.arguments import sweep_arguments as sweep_arguments
from orchestrator.integrations.hugging_face import SweepCallback as SweepCallback
from orchestrator.integrations.trial import Trial as Trial
from orchestrator.integrations.trial import current_trial as current_trial
from orchestrator.integrations.wire import TrialEnded as TrialEnded
