"""Makes the embedded model: render, vae, unet, export; then judge, sweep, evaluate. See README.md."""

import argparse
import os

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.dirname(HERE)
BINARY = os.path.join(HERE, "../../../target/release/p2p")
CHANNELS = {"pocket": ((48, 96, 144), 96), "full": ((64, 128, 192), 128)}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", choices=("pocket", "full"), default="pocket")
    parser.add_argument("--work", default="storybook-work", help="folder of scenes, checkpoints and parts")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("render", help="draw captioned scenes")
    command.add_argument("--scenes", type=int, default=110_000)
    command = commands.add_parser("sheet", help="one picture of many scenes, to look at")
    command.add_argument("file")
    for name, steps, batch in (("vae", 12_000, 16), ("unet", 15_500, 32)):
        command = commands.add_parser(name, help=f"train the {name}; run again to go on")
        command.add_argument("--steps", type=int, default=steps)
        command.add_argument("--batch", type=int, default=batch)
        command.add_argument("--init", help="diffusers folder to start from")
        if name == "vae":
            command.add_argument("--decoder-only", action="store_true", help="leave the latents as they are")
        else:
            command.add_argument("--compile", action="store_true", help="torch.compile the UNet")
    command = commands.add_parser("export", help="write the model folder")
    command.add_argument("out", nargs="?", default=MODEL)
    commands.add_parser("judge", help="train the classifier that scores pictures")
    for name, help_ in (
        ("sweep", "find and store the defaults"),
        ("evaluate", "print the table"),
        ("steps", "swaps by scheduler and number of steps"),
    ):
        command = commands.add_parser(name, help=help_)
        command.add_argument("model", nargs="?", default=MODEL)
        command.add_argument("--binary", default=BINARY, help="p2p, built with --release")
        command.add_argument("--share", type=float, default=1.0, help="ask only this share of the questions")
    command = commands.add_parser("contact", help="headline edits over seeds 0 to 7, as one picture")
    command.add_argument("file")
    command.add_argument("model", nargs="?", default=MODEL)
    command.add_argument("--binary", default=BINARY, help="p2p, built with --release")
    return parser.parse_args()


def main():
    args = arguments()
    torch.set_flush_denormal(True)
    data, parts, judge = f"{args.work}/scenes", f"{args.work}/parts", f"{args.work}/judge.pt"
    match args.command:
        case "render":
            import render

            render.main(data, args.world, args.scenes)
        case "sheet":
            import render

            render.sheet(args.file, args.world)
        case "vae":
            import vae

            vae.train(data, parts, args.steps, args.batch, init=args.init, decoder_only=args.decoder_only)
        case "unet":
            import unet

            channels, width = CHANNELS[args.world]
            unet.train(data, parts, args.steps, args.batch, channels, width, args.init, compiled=args.compile)
        case "export":
            from export import export
            from model import read_json

            export(parts, args.out, read_json(f"{data}/captions.json"))
        case "judge":
            import classifier

            os.makedirs(args.work, exist_ok=True)
            classifier.train(judge, args.world)
        case "sweep":
            from sweep import sweep

            sweep(args.model, args.binary, judge, args.world, int(160 * args.share), int(48 * args.share))
        case "steps":
            from steps import steps

            steps(args.model, args.binary, judge, args.world, int(48 * args.share))
        case "evaluate":
            from evaluate import table

            table(args.model, args.binary, judge, args.world, args.share)
        case "contact":
            from contact import contact

            contact(args.file, args.model, args.binary)


if __name__ == "__main__":
    main()
