"""Raw cases -> the store of ready cases that training reads; the same steps for one case at prediction."""
