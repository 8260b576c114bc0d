"""PSNR, SSIM, LR-PSNR and LPIPS, each with its convention."""

from common.metrics.fidelity import LPIPS_NOT_COMPUTED, PROTOCOLS, Convention, lr_psnr, psnr, ssim
