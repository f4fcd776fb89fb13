"""PyTorch's tutorial: ResNet-18 with a new last layer, 25 epochs of all layers or of that layer alone.

https://pytorch.org/tutorials/beginner/transfer_learning_tutorial.html
"""

from functools import partial

import torch
from torch import nn, optim
from torch.utils.data import DataLoader
from torchvision import datasets, models, transforms

from benchmarks.rounds import Setup, Work

EPOCHS = 25
SCALE = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
TRANSFORMS = {
    "train": [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(), SCALE],
    "validation": [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), SCALE],
}


def prepare() -> None:
    """Set the seed."""
    torch.manual_seed(0)


def work(setup: Setup, frozen: bool) -> Work:
    """An epoch: a pass over the training photos with a step for every four, and one over the validation photos."""
    photos = {
        split: datasets.ImageFolder(setup.folder / split, transforms.Compose(steps))
        for split, steps in TRANSFORMS.items()
    }
    batches = {split: DataLoader(part, batch_size=4, shuffle=True, num_workers=2) for split, part in photos.items()}
    network = models.resnet18(weights=None)
    for weight in network.parameters():
        weight.requires_grad = not frozen
    network.fc = nn.Linear(network.fc.in_features, len(photos["train"].classes))
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = optim.SGD(trained, lr=0.001, momentum=0.9)
    return Work(partial(epoch, network, batches, optimizer), len(photos["train"]))


def epoch(network: nn.Module, batches: dict[str, DataLoader], optimizer: optim.Optimizer) -> None:
    """One epoch of the tutorial's train_model."""
    loss = nn.CrossEntropyLoss()
    network.train()
    for pixels, labels in batches["train"]:
        optimizer.zero_grad()
        loss(network(pixels), labels).backward()
        optimizer.step()
    network.eval()
    with torch.no_grad():
        for pixels, labels in batches["validation"]:
            loss(network(pixels), labels)


CASES = {"all": partial(work, frozen=False), "last layer": partial(work, frozen=True)}
