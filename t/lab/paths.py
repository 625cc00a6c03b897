# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A short name for a long folder: Unix sockets have room for 107 bytes."""
import os
import shutil
import tempfile

ROOM = 60  # what is left must hold the longest socket name below


def short(folder):
    """The folder itself, or a link to it below /tmp; see forget()."""
    if len(os.fsencode(folder)) <= ROOM:
        return folder
    if os.path.exists(folder + '/short'):
        with open(folder + '/short', encoding='utf-8') as text:
            return text.read()
    link = tempfile.mkdtemp(prefix='casproxy-lab-', dir='/tmp') + '/d'
    os.symlink(folder, link)
    with open(folder + '/short', 'w', encoding='utf-8') as out:
        out.write(link)
    return link


def forget(folder):
    """Take the link away, before the folder goes."""
    try:
        with open(folder + '/short', encoding='utf-8') as text:
            link = text.read()
    except OSError:
        return
    if os.path.islink(link) and os.readlink(link) == folder:
        shutil.rmtree(os.path.dirname(link))
