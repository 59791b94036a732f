"""Samplers of higher order, one sample path after another as their papers and k-diffusion print them."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tests.ays.naive import Model, Noise
from worker.ays.noise import Array


def silent(_sigma: float, _sigma_next: float) -> Tensor:
    """No noise."""
    return torch.zeros(())


def dpmpp_2s(model: Model, x: Tensor, sigmas: Sequence[float], *, last_single: bool = False) -> Tensor:
    """k-diffusion's ancestral 2S with eta = 0: Lu et al. 2022, Algorithm 1, r = 1/2; ours ends every schedule at first order."""
    for step, (sigma, sigma_next) in enumerate(itertools.pairwise(sigmas)):
        estimate = model(x, sigma)
        if sigma_next == 0:
            return estimate
        if last_single or step < len(sigmas) - 2:
            t, t_next = -math.log(sigma), -math.log(sigma_next)
            s = t + (t_next - t) / 2
            x_2 = math.exp(-s) / math.exp(-t) * x - math.expm1(-(t_next - t) / 2) * estimate
            estimate = model(x_2, math.exp(-s))
        x = sigma_next / sigma * x + (1 - sigma_next / sigma) * estimate
    return x


def _phi(h: float) -> tuple[float, float]:
    """phi_1 and phi_2 at -h."""
    first = math.expm1(-h) / -h
    return first, (first - 1) / -h


def res_2s(model: Model, x: Tensor, sigmas: Sequence[float], *, c2: float = 0.5) -> Tensor:
    """Zhang et al. 2023, the single-step method of two stages; ours ends every schedule at first order."""
    for step, (sigma, sigma_next) in enumerate(itertools.pairwise(sigmas)):
        estimate = model(x, sigma)
        if sigma_next == 0:
            return estimate
        h = math.log(sigma / sigma_next)
        phi_1, phi_2 = _phi(h)
        combined = phi_1 * estimate
        if step < len(sigmas) - 2:
            x_2 = math.exp(-c2 * h) * x + c2 * h * _phi(c2 * h)[0] * estimate
            combined = (phi_1 - phi_2 / c2) * estimate + phi_2 / c2 * model(x_2, sigma * math.exp(-c2 * h))
        x = math.exp(-h) * x + h * combined
    return x


def exp_heun_2_x0(model: Model, x: Tensor, sigmas: Sequence[float]) -> Tensor:
    """ComfyUI's SEEDS-2 with eta = 0, r = 1 and phi_2: the same with its second stage at the end of the step."""
    return res_2s(model, x, sigmas, c2=1.0)


def res_multistep(model: Model, x: Tensor, sigmas: Sequence[float]) -> Tensor:
    """ComfyUI's `res_multistep` on sigma: b_2 = phi_2 / c_2 with c_2 = (lambda_before - lambda) / h."""
    before = sigma_before = None
    for sigma, sigma_next in itertools.pairwise(sigmas):
        estimate = model(x, sigma)
        if sigma_next == 0:
            return estimate
        h = math.log(sigma / sigma_next)
        phi_1, phi_2 = _phi(h)
        combined = phi_1 * estimate
        if before is not None:
            c_2 = math.log(sigma / sigma_before) / h
            combined = (phi_1 - phi_2 / c_2) * estimate + phi_2 / c_2 * before
        x = math.exp(-h) * x + h * combined
        before, sigma_before = estimate, sigma
    return x


def dpmpp_2m_sde_heun(model: Model, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Tensor:
    """k-diffusion's `sample_dpmpp_2m_sde` with eta = 1 and `solver_type="heun"`."""
    old = h_last = None
    for sigma, sigma_next in itertools.pairwise(sigmas):
        denoised = model(x, sigma)
        if sigma_next == 0:
            return denoised
        h = math.log(sigma / sigma_next)
        x = sigma_next / sigma * math.exp(-h) * x - math.expm1(-2 * h) * denoised
        if old is not None:
            x = x + (-math.expm1(-2 * h) / (-2 * h) + 1) * (denoised - old) / (h_last / h)
        x = x + noise(sigma, sigma_next) * sigma_next * math.sqrt(-math.expm1(-2 * h))
        old, h_last = denoised, h
    return x


def euler_ancestral_of_flow(model: Model, x: Tensor, times: Sequence[float], noise: Noise) -> Tensor:
    """Ancestral Euler of a rectified flow on levels of noise, eta = 1: down to time `t_next^2 / t`, up again with fresh noise."""
    for t, t_next in itertools.pairwise(times):
        sigma = t / (1 - t)
        denoised = model(x, sigma)
        if t_next == 0:
            return denoised
        t_down = t_next**2 / t
        down, sigma_next = t_down / (1 - t_down), t_next / (1 - t_next)
        x = down / sigma * x + (1 - down / sigma) * denoised + noise(sigma, sigma_next) * math.sqrt(sigma_next**2 - down**2)
    return x


def dpmpp_3m_sde(model: Model, x: Tensor, sigmas: Sequence[float], noise: Noise = silent, *, eta: float = 1.0) -> Tensor:
    """k-diffusion's `sample_dpmpp_3m_sde`."""
    denoised_1 = denoised_2 = h_1 = h_2 = None
    for sigma, sigma_next in itertools.pairwise(sigmas):
        denoised = model(x, sigma)
        if sigma_next == 0:
            return denoised
        h = math.log(sigma / sigma_next)
        h_eta = h * (eta + 1)
        x = math.exp(-h_eta) * x - math.expm1(-h_eta) * denoised
        phi_2 = math.expm1(-h_eta) / h_eta + 1
        if h_2 is not None:
            r0, r1 = h_1 / h, h_2 / h
            d1_0, d1_1 = (denoised - denoised_1) / r0, (denoised_1 - denoised_2) / r1
            d1 = d1_0 + (d1_0 - d1_1) * r0 / (r0 + r1)
            d2 = (d1_0 - d1_1) / (r0 + r1)
            x = x + phi_2 * d1 - (phi_2 / h_eta - 0.5) * d2
        elif h_1 is not None:
            x = x + phi_2 * (denoised - denoised_1) / (h_1 / h)
        x = x + noise(sigma, sigma_next) * sigma_next * math.sqrt(-math.expm1(-2 * h * eta))
        denoised_1, denoised_2, h_1, h_2 = denoised, denoised_1, h, h_1
    return x


def third_order_sde(found: Array, levels: Sequence[float], end: float) -> Array:
    """What that method with eta = 1 makes of its evaluations, newest first: its step from 0 without noise is `gain Dhat`."""
    past = min(3, len(found))
    evaluations = iter(torch.from_numpy(found[:past][::-1].copy()))
    run = dpmpp_3m_sde(lambda _x, _sigma: next(evaluations), torch.zeros(found.shape[1]), [*levels[:past][::-1], end])
    start = torch.zeros(found.shape[1], dtype=torch.float64)
    if past > 1:
        evaluations = iter(torch.from_numpy(found[1:past][::-1].copy()))
        start = dpmpp_3m_sde(lambda _x, _sigma: next(evaluations), start, list(levels[:past][::-1]))
    ratio = (end / levels[0]) ** 2
    return ((run - ratio * start) / (1 - ratio)).numpy()


def dpmpp_3m(model: Model, x: Tensor, sigmas: Sequence[float]) -> Tensor:
    """The same with eta = 0."""
    return dpmpp_3m_sde(model, x, sigmas, eta=0.0)


def _unipc_coefficients(h: float, r: Sequence[float]) -> list[float]:
    """`R rho = b` of Zhao et al. 2023 in the data prediction, B(h) = e^-h - 1; one coefficient is 1/2."""
    if len(r) == 1:
        return [0.5]
    hh = -h
    phi, factorial, b = math.expm1(hh) / hh - 1, 1, []
    for i in range(1, len(r) + 1):
        b.append(phi * factorial / math.expm1(hh))
        factorial *= i + 1
        phi = phi / hh - 1 / factorial
    return np.linalg.solve(np.array([np.array(r) ** i for i in range(len(r))]), np.array(b)).tolist()


def unipc(model: Model, x: Tensor, sigmas: Sequence[float], *, order: int) -> Tensor:
    """UniPC: predict with order p, evaluate, correct with what was found, predict on."""
    seen: list[tuple[float, Tensor]] = []  # (lambda, D), newest last
    start, used = x, 0
    for n, sigma in enumerate(sigmas[:-1]):
        found, lam = model(x, sigma), -math.log(sigma)
        if n > 0:
            lam_0, m_0 = seen[-1]
            h = lam - lam_0
            older = [((lam_k - lam_0) / h, m_k) for lam_k, m_k in seen[-used:-1][::-1]]
            rho = _unipc_coefficients(h, [*(r for r, _ in older), 1.0])
            result = sum((c * (m - m_0) / r for c, (r, m) in zip(rho, older, strict=False)), torch.zeros_like(x))
            x = sigma / sigmas[n - 1] * start - math.expm1(-h) * (m_0 + result + rho[-1] * (found - m_0))
        seen.append((lam, found))
        start = x
        remaining = len(sigmas) - 1 - n if sigmas[-1] == 0 else order
        used = min(order, n + 1, remaining)
        if sigmas[n + 1] == 0:
            return found
        h = -math.log(sigmas[n + 1]) - lam
        older = [((lam_k - lam) / h, m_k) for lam_k, m_k in seen[-used:-1][::-1]]
        rho = _unipc_coefficients(h, [r for r, _ in older]) if older else []
        result = sum((c * (m - found) / r for c, (r, m) in zip(rho, older, strict=True)), torch.zeros_like(x))
        x = sigmas[n + 1] / sigma * x - math.expm1(-h) * (found + result)
    return x


def deis(model: Model, x: Tensor, sigmas: Sequence[float], *, order: int = 3) -> Tensor:
    """DEIS in log-rho: the slope's Lagrange polynomial in ln sigma, integrated by brute quadrature over sigma."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    seen: list[tuple[float, Tensor]] = []
    for n, (sigma, sigma_next) in enumerate(itertools.pairwise(sigmas)):
        estimate = model(x, sigma)
        if sigma_next == 0:
            return estimate
        seen.append((math.log(sigma), (x - estimate) / sigma))
        remaining = len(sigmas) - 1 - n if sigmas[-1] == 0 else order
        used = seen[-min(order, n + 1, remaining) :]
        u = (sigma + sigma_next) / 2 + (sigma_next - sigma) / 2 * nodes
        for k, (log_k, slope) in enumerate(used):
            others = [log_m for m, (log_m, _) in enumerate(used) if m != k]
            polynomial = np.prod([(np.log(u) - log_m) / (log_k - log_m) for log_m in others], axis=0) if others else np.ones_like(u)
            x = x + float((weights * polynomial).sum() * (sigma_next - sigma) / 2) * slope
    return x


def ipndm(model: Model, x: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Adams-Bashforth of equal steps in sigma, up to four slopes; a step to 0 returns D."""
    slopes: list[Tensor] = []
    for sigma, sigma_next in itertools.pairwise(sigmas):
        estimate = model(x, sigma)
        if sigma_next == 0:
            return estimate
        slopes = [(x - estimate) / sigma, *slopes][:4]
        if len(slopes) == 1:
            combined = slopes[0]
        elif len(slopes) == 2:
            combined = (3 * slopes[0] - slopes[1]) / 2
        elif len(slopes) == 3:
            combined = (23 * slopes[0] - 16 * slopes[1] + 5 * slopes[2]) / 12
        else:
            combined = (55 * slopes[0] - 59 * slopes[1] + 37 * slopes[2] - 9 * slopes[3]) / 24
        x = x + (sigma_next - sigma) * combined
    return x


def er_scale(sigma: float) -> float:
    """Noise function of ER-SDE."""
    return sigma * (math.exp(sigma**0.3) + 10)


def er_sde(model: Model, x: Tensor, sigmas: Sequence[float], noise: Noise, *, stages: int) -> Tensor:
    """Cui et al. 2023, as ComfyUI's `sample_er_sde`: left sums of 200 points."""
    old = old_d = None
    for n, (sigma, sigma_next) in enumerate(itertools.pairwise(sigmas)):
        denoised = model(x, sigma)
        if sigma_next == 0:
            return denoised
        r = er_scale(sigma_next) / er_scale(sigma)
        x = r * x + (1 - r) * denoised
        if min(stages, n + 1) >= 2:
            dt = sigma_next - sigma
            points = [sigma_next + k * -dt / 200 for k in range(200)]
            s = sum(1 / er_scale(u) for u in points) * -dt / 200
            slope = (denoised - old) / (sigma - sigmas[n - 1])
            x = x + (dt + s * er_scale(sigma_next)) * slope
            if min(stages, n + 1) >= 3:
                s_u = sum((u - sigma) / er_scale(u) for u in points) * -dt / 200
                bend = (slope - old_d) / ((sigma - sigmas[n - 2]) / 2)
                x = x + (dt**2 / 2 + s_u * er_scale(sigma_next)) * bend
            old_d = slope
        x = x + noise(sigma, sigma_next) * math.sqrt(sigma_next**2 - sigma**2 * r**2)
        old = denoised
    return x
