"""Recordings by address, where the server was started with `--allow-url`: public hosts alone.

Names, redirects and second answers of a name server are the matter of `inputs/public_network.py`.
Proxies of the environment are not used.
"""

from typing import Final
from urllib.parse import urlsplit

import httpx2

from maxwhisper_cli.inputs.public_network import (
    ForbiddenAddressError,
    UnresolvedNameError,
    make_async_client,
)
from maxwhisper_cli.serve.errors import ApiError, invalid
from maxwhisper_cli.serve.form import too_large
from maxwhisper_cli.serve.limits import Limits
from maxwhisper_cli.serve.spool import Spool, Upload

_MAX_REDIRECTS: Final = 5
_MAX_URL: Final = 4096


async def fetch(url: str, spool: Spool, limits: Limits) -> Upload:
    """Returns the content of an address as an upload.

    Raises:
        ApiError: It is no public address of http or https, or cannot be fetched.
    """
    _check_spelling(url)
    try:
        async with (
            make_async_client(limits.idle_seconds, _MAX_REDIRECTS) as client,
            client.stream("GET", url, headers={"accept-encoding": "identity"}) as response,
        ):
            if response.status_code != 200:
                raise _refused(f"its server answers {response.status_code}")
            return await _stored(response, spool, limits)
    except ForbiddenAddressError as error:
        raise _refused("it leads to no public address of http or https") from error
    except UnresolvedNameError as error:
        raise _refused("its host is not known") from error
    except httpx2.TooManyRedirects as error:
        raise _refused(f"it leads to more than {_MAX_REDIRECTS} others") from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise _refused(f"it cannot be fetched: {type(error).__name__}") from error


def _check_spelling(url: str) -> None:
    try:
        has_user = "@" in urlsplit(url).netloc
    except ValueError:
        has_user = True
    if has_user or len(url) > _MAX_URL or not url.isprintable():
        raise _refused("it must be an address of http or https, without a user's name")


async def _stored(response: httpx2.Response, spool: Spool, limits: Limits) -> Upload:
    upload = spool.new()
    try:
        async for block in response.aiter_raw():
            upload.write(block)
            _check_size(upload, limits)
    except BaseException:
        upload.close()
        raise
    return upload


def _check_size(upload: Upload, limits: Limits) -> None:
    if upload.n_bytes > limits.upload_bytes:
        raise too_large(limits)


def _refused(reason: str) -> ApiError:
    return invalid(f"url: {reason}", "url", "invalid_url")
