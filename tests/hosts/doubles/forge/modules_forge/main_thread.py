"""What the page starts runs on the main thread; an exception there becomes None."""

import threading

last_exception = None


def run_and_wait_result(func, *args, **kwargs):
    results = []

    def work():
        global last_exception
        try:
            results.append(func(*args, **kwargs))
            last_exception = None
        except Exception as e:
            last_exception = e
            results.append(None)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return results[0]
