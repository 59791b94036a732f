"""Every scheduler with our levels is our own sampler on the same noise; what cannot be is refused by name."""

import copy
import pickle

import diffusers
import pytest
import torch

from ays_client.contract import Solver, Terminal
from ays_client.errors import ScheduleRefused
from ays_client.scheduler_rules import REFUSED, RULES, SWAPPED, solver_of
from ays_client.schedulers import scheduled, with_schedule, without_schedule
from ays_client.webuis import before_shift
from tests.integrate.problems import LATENT, LEVELS, brownian_of, ours, run, schedule

# Diffusers turns torch tensors into arrays in a way that numpy 2 announces to end.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.filterwarnings("ignore:.algorithm_types:FutureWarning")]

NOISE = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
EXACT = {"atol": 1e-5, "rtol": 0, "check_dtype": False}

MULTISTEP = "DPMSolverMultistepScheduler"
EVERY = [name for name in dir(diffusers) if name.endswith("Scheduler") and not name.startswith("Flax")]
FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
EDM = {"sigma_min": 0.002, "sigma_max": 80.0}
VIDEO = LATENT | {
    "prediction_type": "v_prediction",
    "timestep_type": "continuous",
    "timestep_spacing": "leading",
    "sigma_min": 0.002,
    "sigma_max": 700.0,
    "use_karras_sigmas": True,
}

CASES = [
    ("vp", "EulerDiscreteScheduler", LATENT, "euler"),
    ("vp", "EulerDiscreteScheduler", LATENT | {"use_karras_sigmas": True, "timestep_spacing": "leading"}, "euler"),
    ("vp", "EulerDiscreteScheduler", LATENT | {"use_beta_sigmas": True, "timestep_spacing": "trailing"}, "euler"),
    ("vp", "HeunDiscreteScheduler", LATENT, "heun"),
    ("vp", "HeunDiscreteScheduler", LATENT | {"use_exponential_sigmas": True}, "heun"),
    ("vp", MULTISTEP, LATENT, "dpmpp_2m"),
    ("vp", MULTISTEP, LATENT | {"use_karras_sigmas": True, "euler_at_final": True, "final_sigmas_type": "sigma_min"}, "dpmpp_2m"),
    ("vp", MULTISTEP, LATENT | {"use_lu_lambdas": True}, "dpmpp_2m"),
    ("vp", MULTISTEP, LATENT | {"solver_order": 1, "use_beta_sigmas": True}, "ddim"),
    ("vp", "DDIMScheduler", LATENT | {"clip_sample": False}, "ddim"),
    ("vp", "DDIMScheduler", LATENT | {"clip_sample": False}, "dpmpp_2m"),
    ("vp", "DDIMScheduler", LATENT | {"clip_sample": False}, "euler"),
    ("vp", "PNDMScheduler", LATENT | {"skip_prk_steps": True}, "dpmpp_2m"),
    ("vp", "DDPMScheduler", LATENT, "dpmpp_2m"),
    ("vp", MULTISTEP, LATENT | {"solver_order": 3, "solver_type": "heun"}, "dpmpp_3m"),
    ("vp", "UniPCMultistepScheduler", LATENT | {"use_karras_sigmas": True}, "unipc"),
    ("vp", "UniPCMultistepScheduler", LATENT | {"solver_order": 3}, "unipc_3"),
    ("vp", "DEISMultistepScheduler", LATENT | {"solver_order": 3}, "deis"),
    ("edm", "EDMEulerScheduler", EDM, "euler"),
    ("edm", "EDMDPMSolverMultistepScheduler", EDM, "dpmpp_2m"),
    ("flow", "FlowMatchEulerDiscreteScheduler", {}, "euler"),
    ("flow", "FlowMatchEulerDiscreteScheduler", {"shift": 3.0}, "euler"),
    ("flow", "FlowMatchEulerDiscreteScheduler", {"use_dynamic_shifting": True, "use_karras_sigmas": True}, "euler"),
    ("flow", MULTISTEP, FLOW, "dpmpp_2m"),
    ("flow", MULTISTEP, FLOW | {"solver_order": 1}, "ddim"),
    ("flow", "UniPCMultistepScheduler", FLOW, "unipc"),
]


def stock(name, config):
    return getattr(diffusers, name)(**config)


@pytest.mark.parametrize("terminal", list(Terminal))
@pytest.mark.parametrize(("kind", "name", "config", "solver"), CASES)
def test_it_is_our_sampler(kind, name, config, solver, terminal):
    wanted = schedule(kind=kind, solver=Solver(solver), terminal=terminal)
    made = with_schedule(stock(name, config), wanted)
    assert type(made).__name__ == (MULTISTEP if name in SWAPPED else name)
    # Whatever is asked for.
    made.set_timesteps(50)
    torch.testing.assert_close(run(made, kind, NOISE), ours(solver, wanted.sigmas, NOISE), **EXACT)


@pytest.mark.parametrize("terminal", list(Terminal))
@pytest.mark.parametrize(
    ("solver", "swap", "name"), [("euler", False, "EulerDiscreteScheduler"), ("dpmpp_2m", True, "EDMDPMSolverMultistepScheduler")]
)
def test_the_scheduler_of_stable_video_diffusion(solver, swap, name, terminal):
    wanted = schedule(kind="edm", solver=Solver(solver), terminal=terminal, prediction_type="v_prediction")
    made = with_schedule(stock("EulerDiscreteScheduler", VIDEO), wanted, swap=swap)
    assert type(made).__name__ == name
    torch.testing.assert_close(run(made, "svd", NOISE), ours(solver, wanted.sigmas, NOISE), **EXACT)


@pytest.mark.parametrize(
    ("name", "config", "solver"),
    [
        (MULTISTEP, {"algorithm_type": "sde-dpmsolver++", "solver_order": 1}, "sddim"),
        (MULTISTEP, {"algorithm_type": "sde-dpmsolver++"}, "dpmpp_2m_sde"),
        ("DDPMScheduler", {}, "sddim"),
        ("DDPMScheduler", {}, "dpmpp_2m_sde"),
        ("EulerAncestralDiscreteScheduler", {}, "euler_ancestral"),
    ],
)
def test_a_stochastic_one_is_our_sampler_on_the_same_brownian_path(name, config, solver):
    wanted = schedule(solver=Solver(solver))
    made = with_schedule(stock(name, LATENT | config), wanted)
    found = run(made, "vp", NOISE, generator=torch.Generator().manual_seed(1))
    again = torch.Generator().manual_seed(1)
    path = brownian_of(wanted.sigmas, [torch.randn(64, 2, generator=again) for _ in LEVELS])
    torch.testing.assert_close(found, ours(solver, wanted.sigmas, NOISE, brownian=path), **EXACT)


def test_ten_times_more_steps_are_exact_too():
    """From 15 steps on diffusers takes its last step at full order, unless it is told to end at zero."""
    levels = [13.9 * (0.08 / 13.9) ** (index / 31) for index in range(32)]
    wanted = schedule(levels=levels)
    made = with_schedule(stock(MULTISTEP, LATENT), wanted)
    torch.testing.assert_close(run(made, "vp", NOISE), ours("dpmpp_2m", wanted.sigmas, NOISE), **EXACT)


def test_the_levels_are_exact_and_the_times_are_not_rounded():
    made = with_schedule(stock(MULTISTEP, LATENT | {"use_karras_sigmas": True}), schedule())
    assert torch.equal(made.sigmas, torch.tensor([*LEVELS, 0.0]))
    assert torch.equal(made.timesteps, torch.tensor(schedule().timesteps))
    assert made.timesteps.dtype is torch.float32
    assert made.timesteps[0] != made.timesteps[0].round()


@pytest.mark.parametrize("count", [8, 20])
@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("DEISMultistepScheduler", {}),
        ("SASolverScheduler", {}),
        (MULTISTEP, {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}),
        (MULTISTEP, {"algorithm_type": "sde-dpmsolver", "final_sigmas_type": "sigma_min"}),
        ("DPMSolverSinglestepScheduler", {}),
        ("UniPCMultistepScheduler", {}),
        ("LMSDiscreteScheduler", {}),
        ("EulerAncestralDiscreteScheduler", {}),
    ],
)
def test_methods_that_are_not_ours_run_on_our_levels_and_end_in_the_data(name, config, count):
    levels = [13.9 * (0.05 / 13.9) ** (index / (count - 1)) for index in range(count)]
    made = with_schedule(stock(name, LATENT | config), schedule(levels=levels))
    positive = name in {"DEISMultistepScheduler", "SASolverScheduler"} or "algorithm_type" in config
    assert torch.equal(made.sigmas[:-1], torch.tensor(levels))
    assert (made.sigmas[-1] > 0) == positive
    torch.manual_seed(0)  # some of them draw noise, from torch's own generator
    found = run(made, "vp", NOISE)
    assert torch.isfinite(found).all()
    fine = [13.9 * (0.05 / 13.9) ** (index / 255) for index in range(256)]
    distance = torch.cdist(found.double(), ours("dpmpp_2m", [*fine, 0.0], torch.randn(512, 2))).amin(1)
    assert distance.median() < 0.1


def test_singlestep_pairs_the_levels_and_refuses_those_that_are_pairs_already():
    """A first-order step to the middle of a pair, then from its start by both estimates (Lu et al. 2022, 2S)."""
    singlestep = stock("DPMSolverSinglestepScheduler", LATENT)
    made = with_schedule(singlestep, schedule(levels=LEVELS[:7]))
    assert made.order_list == [1, 2, 1, 2, 1, 2, 1]
    with pytest.raises(ScheduleRefused, match="8 evaluations on a schedule of 15"):
        with_schedule(singlestep, schedule(solver=Solver.HEUN))


@pytest.mark.parametrize(
    ("name", "config", "solver"),
    [
        (MULTISTEP, {"solver_order": 3, "solver_type": "heun"}, "dpmpp_3m"),
        (MULTISTEP, {"solver_order": 3}, None),
        (MULTISTEP, {"solver_type": "heun"}, "res_multistep"),
        (MULTISTEP, {"solver_type": "heun", "algorithm_type": "sde-dpmsolver++"}, "dpmpp_2m_sde_heun"),
        ("UniPCMultistepScheduler", {}, "unipc"),
        ("UniPCMultistepScheduler", {"solver_order": 3}, "unipc_3"),
        ("FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True}, None),
        ("LMSDiscreteScheduler", {}, None),
    ],
)
def test_the_solver_of_a_scheduler_has_a_name_where_it_is_one_of_ours(name, config, solver):
    assert solver_of(stock(name, config)) == solver


# Those that need a package of their own exist as names only where it is missing.
@pytest.mark.parametrize("name", [name for name in sorted(REFUSED) if "_backends" not in vars(getattr(diffusers, name))])
def test_what_cannot_be_right_is_refused_by_name(name):
    scheduler = stock(name, {})
    wanted = schedule(kind="flow" if name.startswith("Flow") else "vp")
    with pytest.raises(ScheduleRefused, match=name):
        with_schedule(scheduler, wanted)


def test_the_rules_are_about_schedulers_that_there_are():
    assert set(RULES) | SWAPPED | set(REFUSED) <= set(EVERY)


@pytest.mark.parametrize("name", sorted(set(EVERY) - set(RULES) - SWAPPED - set(REFUSED)))
def test_a_scheduler_of_which_nothing_is_known_is_refused_by_name(name):
    kind = getattr(diffusers, name)
    with pytest.raises(ScheduleRefused, match=f"{name} is refused: it is not known how this class takes its levels"):
        with_schedule(kind.__new__(kind), schedule())


@pytest.mark.parametrize(
    ("name", "config", "changes", "message"),
    [
        ("EulerDiscreteScheduler", LATENT, {"prediction_type": "v_prediction"}, "prediction type v_prediction, expected epsilon"),
        ("EulerDiscreteScheduler", LATENT, {"kind": "edm"}, "noise process edm, expected vp"),
        ("FlowMatchEulerDiscreteScheduler", {}, {}, "noise process vp, expected flow"),
        ("EulerDiscreteScheduler", {"beta_schedule": "linear"}, {}, "map from noise levels to timesteps timestep"),
        ("EulerDiscreteScheduler", LATENT, {"levels": (80.0, *LEVELS[1:])}, "highest noise level 80, expected at most 14.6"),
        ("EDMEulerScheduler", EDM, {"kind": "edm", "levels": (200.0, *LEVELS[1:])}, "highest noise level 200, expected at most 80"),
        ("DDIMScheduler", LATENT, {"solver": Solver.HEUN}, "no scheduler of its kind runs heun"),
    ],
)
def test_a_schedule_of_another_model_is_refused(name, config, changes, message):
    with pytest.raises(ScheduleRefused, match=message):
        with_schedule(stock(name, config), schedule(**changes))


def test_zero_terminal_snr_takes_a_capped_schedule():
    made = with_schedule(stock(MULTISTEP, LATENT | {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}), zsnr())
    assert made.sigmas[0] == 100.0


def zsnr():
    signal = stock(MULTISTEP, LATENT | {"rescale_betas_zero_snr": True}).alphas_cumprod.double()
    table = ((1 - signal) / signal).sqrt().log()
    times = [float((level > table.exp()).sum() - 1) for level in (100.0, *LEVELS[1:])]
    return schedule(levels=(100.0, *LEVELS[1:]), timesteps=times, prediction_type="v_prediction")


def test_swapping_takes_the_solver_that_was_asked_for():
    kept = with_schedule(stock("EulerDiscreteScheduler", LATENT), schedule())
    assert (type(kept).__name__, solver_of(kept)) == ("EulerDiscreteScheduler", "euler")
    swapped = with_schedule(stock("EulerDiscreteScheduler", LATENT | {"use_karras_sigmas": True}), schedule(), swap=True)
    assert (type(swapped).__name__, solver_of(swapped)) == (MULTISTEP, "dpmpp_2m")
    torch.testing.assert_close(run(swapped, "vp", NOISE), ours("dpmpp_2m", schedule().sigmas, NOISE), **EXACT)
    flow = with_schedule(stock("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}), schedule(kind="flow"), swap=True)
    torch.testing.assert_close(run(flow, "flow", NOISE), ours("dpmpp_2m", schedule().sigmas, NOISE), **EXACT)


def copies(made, tmp_path):
    made.save_pretrained(tmp_path)
    return {
        "from_config": type(made).from_config(made.config),
        "deepcopy": copy.deepcopy(made),
        "pickle": pickle.loads(pickle.dumps(made)),
        "twice": copy.deepcopy(type(made).from_config(made.config)),
    }


@pytest.mark.parametrize(("name", "config"), [(MULTISTEP, LATENT), ("EulerDiscreteScheduler", LATENT), ("DDIMScheduler", LATENT)])
def test_copies_keep_the_schedule(name, config, tmp_path, caplog):
    solver = Solver.EULER if "Euler" in name else Solver.DPMPP_2M
    made = with_schedule(stock(name, config), schedule(solver=solver))
    expected = run(made, "vp", NOISE)
    for each in copies(made, tmp_path).values():
        assert scheduled(each)
        each.set_timesteps(30)
        assert torch.equal(run(each, "vp", NOISE), expected)
    assert not caplog.records


def test_a_stock_class_drops_it_without_a_word(tmp_path, caplog):
    scheduler = stock(MULTISTEP, LATENT | {"use_karras_sigmas": True})
    made = with_schedule(scheduler, schedule())
    made.save_pretrained(tmp_path)
    scheduler.set_timesteps(12)
    for plain in (
        diffusers.DPMSolverMultistepScheduler.from_pretrained(tmp_path),
        diffusers.DPMSolverMultistepScheduler.from_config(made.config),
    ):
        assert not scheduled(plain)
        plain.set_timesteps(12)
        assert torch.equal(plain.sigmas, scheduler.sigmas)
        # And it can be given one again.
        assert torch.equal(with_schedule(plain, schedule()).sigmas, made.sigmas)
    assert not caplog.records


def test_the_stock_scheduler_comes_back():
    scheduler = stock("DDIMScheduler", LATENT | {"set_alpha_to_one": False})
    made = with_schedule(scheduler, schedule())
    again = with_schedule(made, schedule(levels=LEVELS[2:]))
    back = without_schedule(copy.deepcopy(again))
    assert type(back) is diffusers.DDIMScheduler
    defaults = [sorted(each.config["_use_default_values"]) for each in (back, scheduler)]
    assert defaults[0] == defaults[1]
    assert back.to_json_string() == scheduler.to_json_string()
    assert without_schedule(scheduler) is scheduler


def test_levels_before_the_shift_are_shifted_to_the_schedule():
    wanted = schedule(kind="flow")
    flow = stock("FlowMatchEulerDiscreteScheduler", {"shift": 3.0})
    flow.set_timesteps(sigmas=before_shift(wanted, 3.0).t[:-1])
    torch.testing.assert_close(flow.sigmas, torch.tensor(wanted.t), atol=1e-6, rtol=0)
