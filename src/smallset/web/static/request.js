// Ask the program that serves the page, with a body in JSON if there is one. Throws an Error with its answer for people.
export async function request(address, body) {
  const options = body && { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new Error("No answer: the program in the terminal has ended. Start it again; what was saved before is kept.");
  }
  if (!response.ok) throw new Error(await response.text());
  return response.status === 204 ? null : response.json();
}
