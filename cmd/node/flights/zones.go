package flights

// hoursFromNewYork is how far a destination's clock is ahead of New York's in
// early March, before summer time. Airports that are not here have New York's.
var hoursFromNewYork = map[string]int{
	// Atlantic
	"BQN": 1, "PSE": 1, "SJU": 1, "STT": 1,
	// Central
	"AUS": -1, "BHM": -1, "BNA": -1, "DFW": -1, "DSM": -1, "HOU": -1, "IAH": -1,
	"MCI": -1, "MDW": -1, "MEM": -1, "MKE": -1, "MSN": -1, "MSP": -1, "MSY": -1,
	"OKC": -1, "OMA": -1, "ORD": -1, "SAT": -1, "STL": -1, "TUL": -1, "XNA": -1,
	// Mountain
	"DEN": -2, "EGE": -2, "PHX": -2, "SLC": -2,
	// Pacific
	"BUR": -3, "LAS": -3, "LAX": -3, "LGB": -3, "OAK": -3, "PDX": -3, "SAN": -3,
	"SEA": -3, "SFO": -3, "SJC": -3, "SMF": -3, "SNA": -3,
	// Hawaii
	"HNL": -5,
}
