// Timers of a hidden page slow down to one a second; those of a worker do not.
setInterval(() => postMessage(undefined), 1000 / 30)
