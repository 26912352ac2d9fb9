"""Healthy models that freeze, copy, adapt or sample on purpose, and healthy batches and statistics."""

# ruff: noqa: FBT002, FBT003 (what torch calls takes flags by position)

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from livemodels.case import (
    EVAL,
    MLP,
    Cases,
    Classifier,
    ConvBlock,
    Head,
    data_loader,
    dataset,
    fitted,
    images,
    settled,
    vectors,
)

CASES = Cases()


# frozen


class FrozenBackbone(nn.Module):
    """A pretrained backbone that stays in eval mode whatever is asked."""

    def __init__(self):
        super().__init__()
        self.backbone = settled(nn.Sequential(ConvBlock(3, 8), ConvBlock(8, 8)), images())
        self.backbone.requires_grad_(requires_grad=False)
        self.head = Head(8)

    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x):
        return self.head(self.backbone(x))


@CASES()
def train_that_freezes_again():
    return FrozenBackbone().train(), images(4)


@CASES()
def frozen_by_hand():
    loader = images()
    net = settled(Classifier(), loader).train()
    for module in net.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
            module.requires_grad_(requires_grad=False)
    return net, loader


@CASES(arguments=EVAL)
def frozen_backbone_evaluated():
    return FrozenBackbone().eval(), images()


@CASES()
def always_in_eval():
    class Extractor(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = settled(ConvBlock(3, 8), images())
            self.features.requires_grad_(requires_grad=False)

        def train(self, mode=True):
            return super().train(False)

        def forward(self, x):
            return self.features(x)

    return nn.Sequential(Extractor().eval(), Head(8)), images()


@CASES()
def bias_before_a_frozen_norm():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), Head(8))
    settled(net, images())
    net[1].requires_grad_(requires_grad=False)
    net.train()
    net[1].eval()
    return net, images()


class FrozenBatchNorm2d(nn.Module):
    """Fixed statistics and a fixed scale and shift, all buffers."""

    def __init__(self, features, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.rand(features) + 0.5)
        self.register_buffer("bias", torch.randn(features))
        self.register_buffer("running_mean", torch.randn(features))
        self.register_buffer("running_var", torch.rand(features) + 0.5)

    def forward(self, x):
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1)


@CASES()
def frozen_batchnorm_of_buffers():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        FrozenBatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        FrozenBatchNorm2d(8),
        nn.ReLU(),
        Head(8),
    )
    return net, images(2)


@CASES()
def frozen_batchnorm_by_the_functional_one():
    class Frozen(FrozenBatchNorm2d):
        def forward(self, x):
            return functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, training=False
            )

    return nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), Frozen(8), nn.ReLU(), Head(8)), images()


# copies: teachers and queues


@CASES(may="BN103")
def moco():
    class MoCo(nn.Module):
        def __init__(self):
            super().__init__()
            self.query, self.key = MLP(10, 8), MLP(10, 8)
            self.key.load_state_dict(self.query.state_dict())
            self.key.requires_grad_(requires_grad=False)
            self.register_buffer("queue", functional.normalize(torch.randn(8, 64), dim=0))
            self.register_buffer("at", torch.zeros(1, dtype=torch.long))

        @torch.no_grad()
        def follow(self):
            for mine, theirs in zip(self.key.parameters(), self.query.parameters(), strict=True):
                mine.mul_(0.99).add_(theirs, alpha=0.01)

        def forward(self, first, second):
            q = functional.normalize(self.query(first), dim=1)
            with torch.no_grad():
                self.follow()
                k = functional.normalize(self.key(second), dim=1)
            logits = torch.cat([(q * k).sum(1, keepdim=True), q @ self.queue.clone()], 1) / 0.07
            at = int(self.at)
            self.queue[:, at : at + len(k)] = k.T
            self.at[0] = (at + len(k)) % 64
            return functional.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))

    return MoCo(), [{"first": torch.randn(32, 10), "second": torch.randn(32, 10)} for _ in range(3)]


@CASES()
def mean_teacher_in_a_list():
    class MeanTeacher(nn.Module):
        def __init__(self):
            super().__init__()
            self.student = settled(MLP(), vectors(32)).train()
            self.teacher = [copy.deepcopy(self.student).eval().requires_grad_(requires_grad=False)]

        def forward(self, x):
            answer = self.student(x)
            with torch.no_grad():
                goal = self.teacher[0](x)
            return answer, functional.mse_loss(answer.softmax(1), goal.softmax(1))

    return MeanTeacher(), vectors(32)


@CASES()
def list_of_other_names_of_children():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
            self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8)
            self.head = Head(8)
            self.stages = [(self.conv1, self.bn1), (self.conv2, self.bn2)]

        def forward(self, x):
            for conv, norm in self.stages:
                x = norm(conv(x)).relu()
            return self.head(x)

    return Net(), images()


@CASES()
def list_that_is_unpacked():
    layers = [nn.Linear(10, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU()]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = layers
            self.net = nn.Sequential(*layers, nn.Linear(16, 5))

        def forward(self, x):
            return self.net(x)

    return Net(), vectors(32)


# coupling, sampling and counting on purpose


@CASES(arguments=EVAL)
def samples_in_eval():
    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.encode = MLP(10, 8)
            self.decode = MLP(4, 10)

        def forward(self, x):
            mean, spread = self.encode(x).chunk(2, 1)
            return self.decode(mean + torch.randn_like(mean) * torch.exp(spread / 2)), mean, spread

    loader = vectors(32)
    return settled(VAE(), loader), loader


@CASES(arguments=EVAL)
def monte_carlo_dropout():
    loader = vectors(32)
    net = settled(nn.Sequential(MLP(10, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 5)), loader)
    net[2].train()
    return net, loader


@CASES(arguments=EVAL)
def contrastive_loss_in_eval():
    class Clip(nn.Module):
        def __init__(self):
            super().__init__()
            self.image, self.text = Classifier(classes=16), nn.Linear(6, 16)

        def forward(self, image, text):
            i, t = (
                functional.normalize(self.image(image), dim=1),
                functional.normalize(self.text(text), dim=1),
            )
            return functional.cross_entropy(i @ t.T / 0.1, torch.arange(len(i)))

    loader = [{"image": torch.randn(16, 3, 8, 8), "text": torch.randn(16, 6)} for _ in range(3)]
    return settled(Clip(), loader), loader


@CASES(arguments=EVAL)
def attention_over_the_batch_in_eval():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.out = MLP(10, 16), nn.Linear(16, 5)

        def forward(self, x):
            z = self.body(x)
            return self.out(torch.softmax(z @ z.T / 4, dim=1) @ z)

    loader = vectors(32)
    return settled(Net(), loader), loader


@CASES(arguments=EVAL)
def buffers_that_count_in_eval():
    class Net(Classifier):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros((), dtype=torch.long))
            self.register_buffer("bank", torch.zeros(64, 5))

        def forward(self, x):
            y = super().forward(x)
            self.bank[(torch.arange(len(y)) + self.seen) % 64] = y.detach()
            self.seen += len(y)
            return y

    loader = images()
    return settled(Net(), loader), loader


@CASES()
def images_with_noise():
    class Net(Classifier):
        def forward(self, x):
            return super().forward(x + 0.1 * torch.randn_like(x) if self.training else x)

    return Net(), images()


@CASES()
def instances_by_a_view_of_the_batch():
    class AdaIN(nn.Module):
        def __init__(self, features):
            super().__init__()
            self.register_buffer("running_mean", torch.zeros(features))
            self.register_buffer("running_var", torch.ones(features))

        def forward(self, x):
            n, c, *size = x.shape
            y = functional.batch_norm(
                x.reshape(1, n * c, *size),
                self.running_mean.repeat(n),
                self.running_var.repeat(n),
                training=True,
            )
            return y.view(n, c, *size)

    return nn.Sequential(nn.Conv2d(3, 8, 3), AdaIN(8), nn.ReLU(), Head(8)), images(4)


@CASES()
def functional_norm_without_statistics():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.out = nn.Linear(10, 16, bias=False), nn.Linear(16, 5)

        def forward(self, x):
            return self.out(functional.batch_norm(self.linear(x), None, None, training=True).relu())

    return Net(), vectors(32)


@CASES()
def functional_norm_that_heeds_the_mode():
    class Norm(nn.Module):
        def __init__(self, features):
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
            self.register_buffer("running_mean", torch.zeros(features))
            self.register_buffer("running_var", torch.ones(features))

        def forward(self, x):
            return functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, self.training
            )

    return nn.Sequential(nn.Linear(10, 16, bias=False), Norm(16), nn.ReLU(), nn.Linear(16, 5)), vectors(32)


# settings and statistics


@CASES()
def momentum_of_one():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8, momentum=1.0), nn.ReLU(), Head(8)
    ), images(25)


@CASES()
def momentum_of_none():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8, momentum=None), nn.ReLU(), Head(8)
    ), images()


@CASES()
def small_momentum_and_the_eps_of_ports():
    return nn.Sequential(
        nn.Linear(10, 16, bias=False),
        nn.BatchNorm1d(16, eps=1e-3, momentum=0.01),
        nn.ReLU(),
        nn.Linear(16, 5),
    ), vectors(32)


@CASES()
def untracked_and_trained():
    return nn.Sequential(
        nn.Linear(10, 16, bias=False),
        nn.BatchNorm1d(16, track_running_stats=False),
        nn.ReLU(),
        nn.Linear(16, 5),
    ), vectors(32)


@CASES(arguments=EVAL)
def converted_weights_without_a_count():
    loader = images()
    net = settled(Classifier(), loader)
    for module in net.modules():
        if isinstance(module, _BatchNorm):
            module.num_batches_tracked.zero_()
    return net, loader


@CASES(arguments=EVAL)
def one_dead_channel():
    loader = images()
    net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), Head(8))
    nn.init.zeros_(net[0].weight[2])
    return settled(net, loader), loader


@CASES(arguments=EVAL)
def batches_sorted_by_class():
    centres = 3 * torch.randn(5, 10)
    labels = torch.arange(5).repeat_interleave(96)
    samples = TensorDataset(centres[labels] + torch.randn(480, 10), labels)
    net = fitted(MLP(), DataLoader(samples, batch_size=32, shuffle=True), epochs=4, rate=0.05)
    return net.eval(), DataLoader(samples, batch_size=32)


@CASES(arguments=EVAL)
def slightly_other_data_is_evaluated():
    net = settled(Classifier(), images(32, batches=6))
    return net, [(1.1 * x + 0.1, y) for x, y in images()]


@CASES(arguments=EVAL)
def features_with_heavy_tails():
    loader = [(x**3, y) for x, y in vectors(32, batches=30)]
    return settled(MLP(), loader[:20]), loader[20:]


@CASES(may="BN408")
def pretrained_on_other_data_and_trained_on():
    net = settled(Classifier(), [(x + 3, y) for x, y in images()])
    return net.train(), images()


@CASES(arguments=EVAL)
def trained_and_evaluated():
    loader = vectors(32)
    return fitted(MLP(), loader, epochs=25, rate=0.01).eval(), loader


@CASES(arguments=lambda model: {**EVAL, "state_dict": {k: v.clone() for k, v in model.state_dict().items()}})
def checkpoint_with_everything():
    loader = images()
    return settled(Classifier(), loader), loader


@CASES(
    arguments=lambda model: {
        **EVAL,
        "state_dict": {k: v.clone() for k, v in model.state_dict().items() if "num_batches" not in k},
    }
)
def checkpoint_without_counts():
    loader = images()
    return settled(Classifier(), loader), loader


# batches


@CASES()
def last_batch_of_five():
    return MLP(), data_loader(64 * 3 + 5, 10, batch=64, shuffle=True)


@CASES()
def last_batch_of_one_is_dropped():
    return MLP(), data_loader(65, 10, batch=32, shuffle=True, drop_last=True)


@CASES()
def batch_sampler_that_drops():
    samples = dataset(65, 10)
    return MLP(), DataLoader(samples, batch_sampler=BatchSampler(RandomSampler(samples), 16, drop_last=True))


@CASES(arguments=EVAL, broken="train")
def last_batch_of_one_is_evaluated():
    loader = data_loader(65, 10, batch=32)
    return settled(MLP(), [(loader.dataset.tensors[0], None)]), loader


@CASES(may="BN302")
def batches_of_a_custom_collate():
    def collate(samples):
        return {"x": torch.stack([x for x, _ in samples]), "target": torch.stack([y for _, y in samples])}

    return MLPOfDict(), DataLoader(dataset(80, 10), batch_size=16, collate_fn=collate)


class MLPOfDict(nn.Module):
    """Takes its inputs by name, and gives the loss if it is told the target."""

    def __init__(self):
        super().__init__()
        self.net = MLP()

    def forward(self, x, target=None):
        y = self.net(x)
        return {"logits": y, "loss": None if target is None else functional.cross_entropy(y, target)}


@CASES()
def model_that_returns_its_loss():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Classifier()

        def forward(self, images, labels):
            return functional.cross_entropy(self.net(images), labels)

    return Net(), images()


@CASES()
def batches_of_three():
    return Classifier(), [(x, y, torch.arange(len(x))) for x, y in images()]


@CASES(arguments={"forward": lambda model, batch: model(batch.image, batch.scale)})
def batches_in_dataclasses():
    @dataclass
    class Batch:
        image: torch.Tensor
        scale: float

    class Net(Classifier):
        def forward(self, x, scale):
            return super().forward(x * scale)

    return Net(), [Batch(x, 0.5) for x, _ in images()]


@CASES(
    arguments={
        "forward": lambda model, batch: model([image for image, _ in batch], [target for _, target in batch])
    },
    may="BN301",
)
def detection_with_lists_of_images():
    class Detector(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(ConvBlock(3, 8), ConvBlock(8, 8, stride=2))
            self.scores, self.boxes = nn.Conv2d(8, 3, 1), nn.Conv2d(8, 4, 1)

        def forward(self, images, targets=None):
            size = max(image.shape[-1] for image in images)
            padded = [functional.pad(i, (0, size - i.shape[-1], 0, size - i.shape[-2])) for i in images]
            y = self.backbone(torch.stack(padded))
            scores, boxes = self.scores(y), self.boxes(y)
            if self.training:
                loss = sum((b.mean() - t["boxes"].mean()) ** 2 for b, t in zip(boxes, targets, strict=True))
                return {"loss_boxes": loss, "loss_scores": scores.sigmoid().mean()}
            return [{"boxes": b, "scores": s} for b, s in zip(boxes, scores, strict=True)]

    def sample():
        return torch.rand(3, 10 + int(torch.randint(4, ())), 12), {"boxes": torch.rand(2, 4)}

    return Detector(), [[sample() for _ in range(16)] for _ in range(3)]


# code that raises, which is none of bnlint's business, and leaves no mark either


class Failing(Classifier):
    """Fails at the second forward."""

    def __init__(self, problem):
        super().__init__()
        self.problem = problem
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        self.calls += 1
        if self.calls > 1:
            self.stem.eval()
            raise self.problem
        return super().forward(x)


@CASES(raises=(ZeroDivisionError,))
def raises_at_the_second_batch():
    return Failing(ZeroDivisionError("of the user")), images()


@CASES(raises=(KeyboardInterrupt,))
def interrupted_at_the_second_batch():
    return Failing(KeyboardInterrupt()), images()


@CASES(raises=(OSError,))
def loader_that_raises():
    def broken():
        yield from images()
        raise OSError("a file is gone")

    return Classifier(), broken()
