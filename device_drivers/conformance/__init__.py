"""What every driver has to show: the checks behind ``gridpact driver check URL``, usable without it.

``bench`` holds what is checked and how it is troubled, ``link`` the network between a driver and its device, which is
cut, held up and spoilt, ``checks`` what is asked, ``suite`` runs them one after the other:

    bench = await open_bench(DeviceUrl.parse("kasa://192.0.2.7:9999"))
    async for result in run(bench):
        print(result)

The checks switch the device on and off, with its failsafe in between. Nothing here needs a test framework.
"""
