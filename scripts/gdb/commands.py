# SPDX-License-Identifier: BSD-2-Clause
"""What all commands share: their names, their words, and one plain line for what goes wrong."""

import gdb
from memory import Trouble

LEFT_OUT = "{} that are empty left out, -a shows all"


class Prefix(gdb.Command):
    def __init__(self, name, help_text):
        self.__doc__ = help_text
        super().__init__(name, gdb.COMMAND_DATA, gdb.COMPLETE_NONE, True)


class Look(gdb.Command):
    """A command by one name, `spandrel NAME`, or by both."""

    def __init__(self, name, function, flags, usage, offer=None):
        self.name, self.function, self.flags, self.offer = name, function, flags, offer
        self.usage = f"{name} {usage}".strip()
        self.__doc__ = f"{function.__doc__}\n\nUsage: {self.usage}"
        super().__init__(name, gdb.COMMAND_DATA)

    def complete(self, _, word):
        try:
            return [name for name in self.offer() if name.startswith(word)] if self.offer else []
        except (Trouble, gdb.error):
            return []

    def invoke(self, line, _):
        given = gdb.string_to_argv(line)
        flags = {word[1] for word in given if len(word) == 2 and word[0] == "-" and word[1] in self.flags}
        rest = [word for word in given if word[:1] != "-" or word[1:] not in flags]
        try:
            self.function(rest, flags)
        except Trouble as trouble:
            raise gdb.GdbError(f"{self.name}: {trouble}") from None
        except KeyboardInterrupt:
            raise gdb.GdbError(f"{self.name}: interrupted") from None
        except gdb.error as error:
            raise gdb.GdbError(f"{self.name}: {error}") from None
        except Exception as error:  # memory that is overwritten can mislead in any way
            raise gdb.GdbError(f"{self.name}: what lies there makes no sense: {error}") from None
