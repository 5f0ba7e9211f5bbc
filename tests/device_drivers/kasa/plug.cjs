// Plugs of tplink-smarthome-simulator. What it lacks is added here: it keeps countdown rules and does not carry them out.
// Usage: node plug.cjs NODE_MODULES MODEL PORT...; says each port on a line of its output. Where EDGES names a file, each
// switching is noted there, as in edges.py; devices are named by their place.
const [modules, model, ...ports] = process.argv.slice(2);
const { appendFileSync } = require('fs');
const { Device } = require(`${modules}/tplink-smarthome-simulator`);

function plug(port, switched) {
  const device = new Device({ model, port, address: '127.0.0.1' });
  const { count_down: countDown, system } = device.api;
  const { set_relay_state: set } = system;
  system.set_relay_state = (...wanted) => {
    switched(wanted[0].state === 1);
    return set.apply(system, wanted);
  };
  let timer;
  const { add_rule: add, delete_all_rules: clear } = countDown;
  countDown.add_rule = (rule) => {
    const answer = add(rule);
    if (answer.err_code === 0 && rule.enable) {
      timer = setTimeout(() => {
        system.set_relay_state({ state: rule.act });
        clear({});
      }, rule.delay * 1000);
    }
    return answer;
  };
  countDown.delete_all_rules = (nothing) => {
    clearTimeout(timer);
    return clear(nothing);
  };
  // As it comes, it ends with the first connection that is reset.
  device.deviceNetworking.on('error', () => {});
  return device;
}

function edges(place) {
  let last;
  return (on) => {
    if (process.env.EDGES === undefined || on === last) return;
    last = on;
    const at = Number(process.hrtime.bigint()) / 1e9;
    appendFileSync(process.env.EDGES, `${JSON.stringify({ device: `kasa ${place}`, on, at })}\n`);
  };
}

(async () => {
  for (const [place, port] of ports.entries()) {
    const device = plug(Number(port), edges(place));
    await device.start();
    console.log(device.port);
  }
})();
