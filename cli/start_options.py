"""The options of `peer start` that are the owner's settings; each may stand in the settings file as well.

They come as text, so that a bad value gets one line that names it, wherever it was written.
"""

# Typer reads these annotations when the program runs, so `Optional` and not `| None`.
from typing import Annotated, Optional

import typer

Text = Optional[str]  # noqa: UP045
Switch = Optional[bool]  # noqa: UP045

Cores = Annotated[
    Text,
    typer.Option("--cores", "--slots", metavar="N", help="Cores for others, one for each chunk. (default: all but 1)"),
]
Memory = Annotated[Text, typer.Option(metavar="SIZE", help="Memory for all work of others, as in 8G. (default: 75 %)")]
Price = Annotated[Text, typer.Option(metavar="P", help="Credits per reference-second. (default: 1)")]
Hours = Annotated[
    Text, typer.Option(metavar="HOURS", help="When to work, as in 22:00-07:00,12:00-13:00. (default: always)")
]
WhenIdle = Annotated[
    Switch,
    typer.Option("--when-idle/--when-used", help="Work only after 3 minutes without use. (default: when-used)"),
]
OnBattery = Annotated[Switch, typer.Option("--on-battery/--on-mains", help="Work on battery too. (default: on-mains)")]
MaxCpu = Annotated[
    Text, typer.Option(metavar="SHARE", help="How much of the time work of others may compute. (default: 100 %)")
]
Accept = Annotated[Text, typer.Option(metavar="WHOM", help="Whom to work for: anyone, paired, ask. (default: anyone)")]
Runtimes = Annotated[Text, typer.Option(metavar="NAMES", help="Runtimes to offer. (default: all)")]
Sandbox = Annotated[
    Text, typer.Option(metavar="KIND", help="auto: the strongest that works; or bubblewrap, landlock. (default: auto)")
]
Programs = Annotated[
    Text, typer.Option(metavar="NAMES", help="Programs that command jobs may run. (default: well-known ones)")
]
Nice = Annotated[
    Text, typer.Option(metavar="N", help="Niceness of others' work: 19 goes last, 0 like yours. (default: 19)")
]
