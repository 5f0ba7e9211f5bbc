// A plug of tplink-smarthome-simulator. What it lacks is added here: it keeps countdown rules and does not carry them out.
// Usage: node plug.cjs NODE_MODULES MODEL PORT; says its port on the first line of its output.
const [modules, model, port] = process.argv.slice(2);
const { Device } = require(`${modules}/tplink-smarthome-simulator`);
const device = new Device({ model, port: Number(port), address: '127.0.0.1' });
const { count_down: countDown, system } = device.api;
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
device.start().then(() => console.log(device.port));
